"""Masks that are stored as arrays: NumPy's ``.npy`` and ``.npz``, and SBD's ``.mat``."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

ARRAY_SUFFIXES = {".npy", ".npz"}


def load_numpy(path: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """Return the array of an ``.npy``, or the arrays of an ``.npz`` by their names.

    Raises:
        ValueError: the file is damaged, or holds Python objects, which could run code.
        OSError: the file cannot be read.
    """
    try:
        return np.load(path, mmap_mode, allow_pickle=False)
    except OSError:
        raise
    except Exception:  # NumPy's own message may advise to run a stranger's code
        raise ValueError("it is damaged, or no array of numbers") from None


def load_member(arrays: Any, name: str) -> np.ndarray:
    """Return an array of an ``.npz``.

    Raises:
        ValueError: it is damaged, or holds Python objects, which could run code.
    """
    try:
        return np.asarray(arrays[name])
    except Exception:  # as in load_numpy
        raise ValueError("it is damaged, or no array of numbers") from None


def load_plane(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Return the array (H,W) of an ``.npy``, or the only one of an ``.npz``. A damaged file may raise anything.

    Raises:
        ValueError: there is no array, or several, or it has another shape.
    """
    values = load_numpy(path, mmap_mode)
    if not isinstance(values, np.ndarray):  # the arrays of an .npz by their names
        with values as arrays:
            if len(arrays.files) != 1:
                raise ValueError(f"it has the arrays {', '.join(arrays.files)}, expected one")
            values = load_member(arrays, arrays.files[0])
    if values.ndim != 2:
        raise ValueError(f"its array has the shape {values.shape}, expected (height, width)")
    return values


def read_array(path: Path, threshold: float | None = None) -> np.ndarray:
    """Read a class map uint8 (H,W) from an array of integers (H,W). A damaged file may raise anything.

    Args:
        path: of the array.
        threshold: values from here on are 255 and all others 0, which integers and floats may be then.

    Raises:
        ValueError: the array has another shape, other numbers than integers, values beyond 0 to 255, or NaN.
    """
    values = load_plane(path)
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(1 if threshold is None else 255)
    if values.dtype.kind not in ("iu" if threshold is None else "iuf"):
        advice = "; data.threshold=0.5 makes two classes of them" * (values.dtype.kind == "f")
        raise ValueError(f"its values are {values.dtype}, expected integers{advice}")
    if threshold is not None:
        if not np.isfinite(values).all():  # NaN would be below any threshold
            raise ValueError("it holds values that are not finite (NaN): give every pixel a number")
        return (values >= threshold).astype(np.uint8) * np.uint8(255)
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise ValueError(f"its values are {values.min()} to {values.max()}, expected 0 to 255, where 255 is ignored")
    return values.astype(np.uint8)


def read_sbd(path: Path) -> np.ndarray:
    """Read one of SBD's ``cls/*.mat`` files."""
    from scipy.io import loadmat  # here, since only SBD needs it

    return np.asarray(loadmat(path)["GTcls"][0]["Segmentation"][0], dtype=np.uint8)
