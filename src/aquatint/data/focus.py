"""Where the detail of a picture lies: no faces and no network, only edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

SIDE_PX = 256
"""Pictures are looked at no larger than this: what is sharp at a glance counts, not grain."""
PLACES = 256
"""Steps from one end to the other in which a window is tried; even, so that the centre is among them."""

Profile = np.ndarray[Any, np.dtype[np.int64]]


def richest_corner(image: Image.Image, covering: tuple[int, int], *, size: tuple[int, int]) -> tuple[int, int]:
    """Left and top of the window of `size` that holds most of the detail of a picture scaled to `covering`, all (width, height).

    A covering fits on one side, so the window moves along the other and sums over columns or rows decide. Of equals
    the middle one is taken: the centre of a plain picture, and a window around what fits into it with room to spare.
    """
    energy = _energy(image)
    across, down = (_offset(energy.sum(axis), covering[axis], window=size[axis]) for axis in (0, 1))
    return across, down


def _energy(image: Image.Image) -> Profile:
    """Differences of grey between neighbours, each counted for both, (h, w)."""
    shrink = max(1.0, max(image.size) / SIDE_PX)
    small = image.resize((max(1, round(image.width / shrink)), max(1, round(image.height / shrink))), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), np.int64)
    across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    sides = (((0, 0), (1, 0)), ((0, 0), (0, 1))), (((1, 0), (0, 0)), ((0, 1), (0, 0)))
    return sum((np.pad(edges, pad) for edges, pads in zip((across, down), sides, strict=True) for pad in pads), np.zeros_like(grey))


def _offset(profile: Profile, length: int, *, window: int) -> int:
    offsets = np.arange(PLACES + 1, dtype=np.int64) * (length - window) // PLACES
    edges, below = np.linspace(0, length, len(profile) + 1), np.concatenate([[0], np.cumsum(profile)])
    held = np.interp(offsets + window, edges, below) - np.interp(offsets, edges, below)
    best = np.flatnonzero(held >= held.max() - 1e-9 * below[-1])  # interpolation may tell equals apart by rounding
    return int(offsets[best[len(best) // 2]])
