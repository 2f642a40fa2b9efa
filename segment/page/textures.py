"""Textures that the page offers: drawn, so that a visitor needs no file to try one."""

from collections.abc import Callable

import numpy as np

TEXTURE_SIDE = 128
"""Width and height of a texture, in pixels."""


def bricks() -> np.ndarray:
    """Return a wall of bricks, uint8 (128,128,3)."""
    y, x = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE]
    row = y // 32
    column = (x + 32 * (row % 2)) % TEXTURE_SIDE // 64
    tone = np.array([[0.9, 1.06], [1.02, 0.94], [1.1, 0.98], [0.96, 1.04]])[row, column]
    joint = (y % 32 < 3) | ((x + 32 * (row % 2)) % 64 < 3)
    return _paint(np.where(joint[..., None], [205, 198, 186], tone[..., None] * [168, 82, 62]), 9)


def wood() -> np.ndarray:
    """Return planks of wood, uint8 (128,128,3)."""
    y, x = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE] * (2 * np.pi / TEXTURE_SIDE)
    plank = np.floor(y / (np.pi / 2))
    rings = np.sin(9 * y + 1.6 * np.sin(x + 2 * plank) + 0.7 * np.sin(3 * x + plank))
    tone = (1 + 0.1 * rings + 0.05 * np.cos(2.1 * plank)) * np.where(y % (np.pi / 2) < 0.1, 0.6, 1)
    return _paint(tone[..., None] * [176, 126, 78], 5)


def tiles() -> np.ndarray:
    """Return a floor of light and dark tiles, uint8 (128,128,3)."""
    y, x = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE]
    dark = (x // 64 + y // 64) % 2 == 1
    joint = (x % 64 < 2) | (y % 64 < 2)
    return _paint(np.where(joint[..., None], 150, np.where(dark[..., None], [52, 74, 96], [222, 226, 228])), 4)


TEXTURES: dict[str, Callable[[], np.ndarray]] = {"bricks": bricks, "wood": wood, "tiles": tiles}
"""Texture of each name."""


def _paint(light: np.ndarray, noise: float) -> np.ndarray:
    """Return values from 0 to 255 with some noise, the same at each call, as uint8."""
    grain = np.random.default_rng(0).normal(0, noise, (TEXTURE_SIDE, TEXTURE_SIDE, 1))
    return np.clip(light + grain, 0, 255).astype(np.uint8)
