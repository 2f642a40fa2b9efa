"""The exception for a user's mistake."""


class SegmentError(Exception):
    """A mistake that the user can correct: commands print the message alone, without a traceback.

    A DataLoader's worker wraps an exception into "Caught ... Original Traceback ...: message" and calls the exception's
    class with that text. Everything before the class's own name is dropped here.

    Example:
        >>> str(SegmentError("Caught ... segment.errors.SegmentError: no mask"))
        'no mask'
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rsplit("segment.errors.SegmentError: ", maxsplit=1)[-1].strip())


class NoSplitError(SegmentError):
    """The data set has no split of the given name."""
