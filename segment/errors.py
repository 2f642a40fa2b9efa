"""The one exception that stands for a user's mistake."""


class SegmentError(Exception):
    """A mistake that the user can mend: the entry points print the message alone, without a traceback.

    A DataLoader's worker wraps what it raises into "Caught ... Original Traceback ...: message" and calls
    the exception's class with that text; keeping only what stands behind our own name undoes it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rsplit("segment.errors.SegmentError: ", maxsplit=1)[-1].strip())
