"""Encoders: networks that turn an image into features keyed by stride. Each family has one file."""
