"""Decoders that suit any encoder: they turn features keyed by stride into score maps.

A decoder that belongs to one published network is in ``segment.models.published``.
"""
