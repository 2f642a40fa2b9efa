"""Another surface for a class, as remodelling does it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from segment.effects.light import LUMINANCE, lightness, luminance_of, move_mean, paint, to_linear, to_srgb
from segment.effects.picture import read_picture
from segment.effects.selection import select
from segment.errors import SegmentError

KEPT_CORRELATION = 0.95
"""Correlation of lightness before and after, which the texture's own pattern may not take below this."""
LARGEST_SCALE = 1e9
"""Largest size of a tile, in sizes of the texture; beyond it Pillow's numbers end."""
FLAT = 1.0
"""Standard deviation of lightness below which a surface has no shading that could be kept."""


def retexture(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[int],
    texture: np.ndarray | str | Path,
    scale: float = 1.0,
    corners: Sequence[Sequence[float]] | None = None,
    grain: float | None = None,
    feather: float = 0.0,
    probabilities: np.ndarray | None = None,
) -> np.ndarray:
    """Return the image, uint8 (H,W,3), with a texture on the chosen classes; the shading of the photo stays.

    So a white texture comes out a little darker, and a black one a little lighter, as in
    :func:`segment.effects.recolour`.

    Args:
        image: uint8 (H,W,3).
        mask: class indices (H,W).
        classes: indices of the classes to cover.
        texture: an image, uint8 (h,w,3), or its path; it is repeated as tiles.
        scale: size of a tile: 2 for twice as large.
        corners: four points (x,y) of the image, clockwise from the upper left, for the corners of the first tile; None
            for a surface that faces the camera.
        grain: share of the texture's own light and dark, from 0 to 1; None for as much as leaves the shading visible.
        feather: width of the soft edge, see :func:`segment.effects.select`.
        probabilities: for the soft edge.

    Raises:
        SegmentError: the texture cannot be read, or a value is out of range.
    """
    if not 0 < scale <= LARGEST_SCALE or not (grain is None or 0 <= grain <= 1):
        raise SegmentError(
            f"expected scale above 0, up to {LARGEST_SCALE:g}, and grain from 0 to 1, got {scale} and {grain}"
        )
    tile = texture if isinstance(texture, np.ndarray) else read_picture(str(texture), "texture")
    weight = select(mask, classes, probabilities, feather)
    inside = weight > 0
    if not inside.any():
        return image.copy()
    surface = _sample(tile, inside, scale, corners)
    light, share = to_linear(image[inside]), weight[inside][:, None]
    shading, pattern = lightness(light @ LUMINANCE), lightness(surface @ LUMINANCE)
    target = float(pattern.mean())
    moved, pattern = move_mean(shading, float(shading.mean()), target), pattern - target
    strength = _strongest_grain(shading, moved, pattern) if grain is None else grain
    luminance = luminance_of(np.clip(moved + strength * pattern, 0, 100))
    result = image.copy()
    result[inside] = to_srgb((1 - share) * light + share * paint(surface, luminance))
    return result


def _sample(
    tile: np.ndarray, inside: np.ndarray, scale: float, corners: Sequence[Sequence[float]] | None
) -> np.ndarray:
    """Return the linear light (n,3) of the repeated tile at the selected pixels."""
    rows, columns = np.nonzero(inside)
    x, y = columns + 0.5, rows + 0.5
    height, width = tile.shape[:2]
    if corners is not None:
        u, v, repeats = *_unproject(x, y, corners), 1 / scale
        x, y = u * width * repeats, v * height * repeats
    else:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = min(size[0], inside.shape[1]), min(size[1], inside.shape[0])  # a large tile is larger than the image
        box = (0, 0, width * seen[0] / size[0], height * seen[1] / size[1])
        tile = np.asarray(Image.fromarray(tile).resize(seen, Image.Resampling.LANCZOS, box))
    light, at = to_linear(tile), np.stack([y, x]) - 0.5
    bands = [map_coordinates(light[..., band], at, order=1, mode="grid-wrap") for band in range(3)]
    return np.stack(bands, -1)


def _unproject(x: np.ndarray, y: np.ndarray, corners: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of pixels on the surface whose unit square is seen with these corners.

    Raises:
        SegmentError: they are not the corners of a convex quadrilateral.
    """
    try:
        points = np.asarray(corners, float)
    except (TypeError, ValueError):  # text, or points of different lengths
        points = np.zeros(0)
    if points.shape == (4, 2) and np.isfinite(points).all():
        edges = np.roll(points, -1, 0) - points
        turns = edges[:, 0] * np.roll(edges, -1, 0)[:, 1] - edges[:, 1] * np.roll(edges, -1, 0)[:, 0]
        is_convex = bool((turns > 1e-6).all() or (turns < -1e-6).all())
    else:
        is_convex = False
    if not is_convex:
        raise SegmentError(
            f"corners={corners}: expected four points [x,y] of a convex shape, clockwise from upper left"
        )
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    equations = [
        row
        for (px, py), (u, v) in zip(points, unit, strict=True)
        for row in ([px, py, 1, 0, 0, 0, -u * px, -u * py], [0, 0, 0, px, py, 1, -v * px, -v * py])
    ]
    a, b, c, d, e, f, g, h = np.linalg.solve(np.array(equations), unit.ravel())
    depth = g * x + h * y + 1
    depth = np.where(np.abs(depth) < 1e-6, 1e-6, depth)  # the horizon
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def _strongest_grain(shading: np.ndarray, moved: np.ndarray, pattern: np.ndarray) -> float:
    """Return the largest share of the pattern, in steps of 0.02, that leaves the shading visible."""
    if shading.std() < FLAT:
        return 1.0
    covariance = np.cov(np.stack([shading, moved, pattern]))

    def correlation(share: float) -> float:
        mix = np.array([0, 1, share])
        return float(covariance[0] @ mix / np.sqrt(covariance[0, 0] * (mix @ covariance @ mix) + 1e-12))

    return next((share for share in np.linspace(1, 0, 51) if correlation(share) >= KEPT_CORRELATION), 0.0)
