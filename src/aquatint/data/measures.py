"""What a look at one picture's pixels tells of it, in a few numbers that can be kept for every picture of a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = 1
"""Count up when the same picture would give other measures."""
LOOKED_AT_PX = 512
"""The longer side at which a picture is judged, as nearly as whole factors allow (384 to 767); smaller ones as they are."""
TILE_PX = 16
TILE_RANGE = 32
"""Of 255 grey levels: a tile with less holds no edge that could be judged."""
FEWEST_TILES = 0.01
SHARP_SHARE = 0.1
"""Of the tiles with an edge: so much of a picture must be sharp, the rest may lie out of focus."""
CORNER_GRID = (48, 24)
"""Cells across and down of a corner: a fourth of the longer side by an eighth of it. Coarser ones lose the strokes of letters."""
LEAST_LONG_PX = 384
"""In a shorter picture a cell has less than two pixels: its corners are not looked at."""
CORNER_CELLS, FEWEST_CELLS = 115, 24
"""At most a tenth of the cells stand out; a corner with fewer than the least has nothing that could repeat."""
LEAST_STEP, REACH = 0.5, 2
"""Grey levels a pixel by which a cell must be rougher than those at most two cells away."""

_SIDE, _WAVES = 32, 10
_COSINES = np.cos(np.pi / _SIDE * (np.arange(_SIDE) + 0.5) * np.arange(_WAVES)[:, None])
_ORDER = sorted((down**2 + across**2, down, across) for down in range(_WAVES) for across in range(_WAVES))
_, _DOWN, _ACROSS = np.array(_ORDER[1:65]).T  # the first is the mean


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one picture. Whole numbers hold bits, so that a hundred thousand of these stay below 100 MB."""

    fingerprint: int
    """64 bits. Copies that were resized, compressed or slightly brightened differ in a few, other pictures in 32 on average."""
    tones: int
    """48 bytes: the mean colours of 4 x 4 parts, which tell pictures of one shape and different colours apart."""
    spread: float
    """Standard deviation of the most varied channel, in [0, 128]; 0 for one colour."""
    edge_px: float
    """How wide the sharper edges are in a picture 512 pixels long (standard deviation): about 0.4 to 0.8 if sharp; 0 without edges."""
    corners: tuple[int, ...]
    """What stands out in the top left, top right, bottom left, bottom right; see `corner_map`. 0 where nothing does."""


def measure(image: Image.Image) -> Measures:
    """The measures of an RGB image of any size, in a millisecond or two for a megapixel.

    The fingerprint takes the signs of the 64 lowest waves of a discrete cosine transform, as Zauner's pHash does (Implementation and
    Benchmarking of Perceptual Image Hash Functions, 2010) with a median in place of zero. The width of edges is the range of grey
    in a tile over its steepest step: for a step of height h blurred by a Gaussian the slope is at most h / (2.5 sigma).
    """
    longer = max(image.size)
    small = image.reduce(max(1, round(longer / LOOKED_AT_PX)))
    tiny = small.reduce(max(1, max(small.size) // 64))
    grey = np.asarray(small.convert("L")).astype(np.int16)
    colours = np.asarray(tiny).reshape(-1, 3).astype(np.float32)
    return Measures(
        fingerprint=_fingerprint(tiny),
        tones=int.from_bytes(tiny.resize((4, 4), Image.Resampling.BOX).tobytes(), "big"),
        spread=round(float(colours.std(axis=0).max()), 2),
        edge_px=round(_edge_width(grey) * max(1.0, LOOKED_AT_PX / max(grey.shape) if longer >= LOOKED_AT_PX else 1.0), 2),
        corners=_corners(grey),
    )


def corner_map(corner: int) -> NDArray[np.uint8]:
    """(48 * 24,) from the corner's own edge, row by row: 1 where it stands out, else 0."""
    return np.unpackbits(np.frombuffer(corner.to_bytes(CORNER_GRID[0] * CORNER_GRID[1] // 8, "big"), np.uint8))


def _fingerprint(image: Image.Image) -> int:
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    waves = (_COSINES @ grey @ _COSINES.T)[_DOWN, _ACROSS]
    return int.from_bytes(np.packbits(waves > 0).tobytes(), "big")


def _edge_width(grey: NDArray[np.int16]) -> float:
    """In pixels of `grey`. A picture too blurred for edges in its tiles is judged at half its size."""
    widths = _tile_widths(grey)
    if len(widths) < 4 or len(widths) < FEWEST_TILES * grey.size / TILE_PX**2:
        half = grey[: len(grey) // 2 * 2, : grey.shape[1] // 2 * 2]
        half = (half[::2, ::2] + half[1::2, ::2] + half[::2, 1::2] + half[1::2, 1::2]) // 4
        widths = 2 * _tile_widths(half)
    return float(np.sort(widths)[int(len(widths) * SHARP_SHARE)]) if len(widths) else 0.0


def _tile_widths(grey: NDArray[np.int16]) -> NDArray[np.float64]:
    """Of the steepest edge in each tile that has one; none for a picture smaller than a tile."""
    down, across = (side // TILE_PX for side in grey.shape)
    if not down or not across:
        return np.empty(0)
    grey = grey[: down * TILE_PX, : across * TILE_PX]
    steps = np.zeros_like(grey)
    steps[:, 1:] = np.abs(grey[:, 1:] - grey[:, :-1])
    np.maximum(steps[1:], np.abs(grey[1:] - grey[:-1]), out=steps[1:])
    high, low, steepest = _by_tile(grey, np.maximum), _by_tile(grey, np.minimum), _by_tile(steps, np.maximum)
    has_edge = high - low >= TILE_RANGE
    widths: NDArray[np.float64] = (high - low)[has_edge] / np.maximum(steepest[has_edge], 1) / np.sqrt(2 * np.pi)
    return widths


def _by_tile(values: NDArray[np.int16], extreme: np.ufunc) -> NDArray[np.int16]:
    down, across = (side // TILE_PX for side in values.shape)
    rows: Any = extreme.reduce(values.reshape(down, TILE_PX, across * TILE_PX), axis=1)
    reduced: NDArray[np.int16] = extreme.reduce(rows.reshape(down, across, TILE_PX), axis=2)
    return reduced


def _corners(grey: NDArray[np.int16]) -> tuple[int, ...]:
    """The cells of letters and logos: rougher than around, down and across, where the line of a border is rough one way only.

    Measured along the longer side: marks of one size on pictures of one length fall on the same cells.
    """
    longer = max(grey.shape)
    width, height = longer // 4, longer // 8
    if longer < LEAST_LONG_PX or grey.shape[0] < 2 * height or grey.shape[1] <= width:
        return 0, 0, 0, 0
    views = (grey, grey[:, ::-1], grey[::-1], grey[::-1, ::-1])
    rough = np.stack([_roughness(view[: height + 1, : width + 1].astype(np.float32)) for view in views])
    sums = np.pad(np.pad(rough, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge").cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    side = 2 * REACH + 1
    around = (sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]) / side**2
    return tuple(_corner(one) for one in (rough - around).reshape(4, -1))


def _corner(rougher: NDArray[np.float32]) -> int:
    stands_out = rougher >= max(LEAST_STEP, np.partition(rougher, -CORNER_CELLS)[-CORNER_CELLS])
    return int.from_bytes(np.packbits(stands_out).tobytes(), "big") if stands_out.sum() >= FEWEST_CELLS else 0


def _roughness(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """(24, 48): the mean step from pixel to pixel in each cell, down or across, whichever is less."""
    inner = patch[:-1, :-1]
    steps = (np.abs(patch[:-1, 1:] - inner), np.abs(patch[1:, :-1] - inner))
    across, down = (np.asarray(Image.fromarray(step).resize(CORNER_GRID, Image.Resampling.BOX)) for step in steps)
    least: NDArray[np.float32] = np.minimum(across, down)
    return least
