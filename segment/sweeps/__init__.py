"""Sweeps: many command lines, each of them a job with its own process and folder.

The launcher that Hydra calls is in ``hydra_plugins``. Comparing the runs belongs to ``comparison``.
"""
