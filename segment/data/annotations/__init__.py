"""Annotations as tools write them: objects with a label and an outline or mask, read, drawn, traced and written.

Each format has a small reader that yields :class:`segment.data.annotations.objects.Annotation`. Drawing and
frame are in :mod:`segment.data.annotations.objects`, the classes in :mod:`segment.data.annotations.labels`.
"""
