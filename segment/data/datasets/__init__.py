"""One file for each data set: its classes, the files of each split, and what can be downloaded.

A data set's class is also named in :mod:`segment.data`; that is the name YAML files and checkpoints use.
"""
