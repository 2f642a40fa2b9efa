"""Sweeps: many command lines, each a job in a process and a folder of its own.

Hydra finds the launcher itself in ``hydra_plugins``. Putting the runs together belongs to ``comparison``.
"""
