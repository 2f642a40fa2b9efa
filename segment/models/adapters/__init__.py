"""Nets of other libraries: one module for each, which alone imports it, and only when a net is built.

Here belongs what gives such a net our interface: any size of image, normalisation, weights. Their code is not copied.
"""
