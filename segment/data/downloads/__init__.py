"""Downloading and unpacking of archives. Nothing here knows a particular data set."""
