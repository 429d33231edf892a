"""Aspect buckets: the few sizes at which pictures of all shapes are shown, so that batches can be formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from aquatint.data.records import ImageRecord
from aquatint.data.settings import Images
from aquatint.errors import AquatintError

Size = tuple[int, int]
"""(width, height) in pixels."""
MAX_ASPECT = 2.4
"""Of width to height or height to width; longer pictures are cropped. 2.4 is the longest that SDXL was trained on."""
STEPS_PER_SIDE = 16
"""Sides of buckets are this fraction of the resolution apart: finer ones crop less and leave more batches short."""


@cache
def sizes(resolution: int, multiple: int) -> tuple[Size, ...]:
    """Every bucket, narrowest first: sides divisible by `multiple`, areas just under resolution², the square among them.

    Raises AquatintError for a resolution that is no multiple.
    """
    square = square_of(resolution, multiple)
    step = multiple * max(1, math.ceil(resolution / STEPS_PER_SIDE / multiple))
    widest: dict[int, int] = {}
    for width in range(resolution + step, int(resolution * math.sqrt(MAX_ASPECT)) + 1, step):
        height = resolution * resolution // width // step * step
        if height > 0 and width / height <= MAX_ASPECT:
            widest[height] = width  # of two widths with one height the larger fills the area better
    wide = [(width, height) for height, width in widest.items()]
    return tuple(sorted([(height, width) for width, height in wide] + [square, *wide]))


def square_of(resolution: int, multiple: int) -> Size:
    """The one size of a run without buckets. Raises AquatintError for a resolution that is no multiple."""
    if resolution < multiple or resolution % multiple:
        near = sorted({max(multiple, resolution // multiple * multiple), (resolution // multiple + 1) * multiple})
        better = f"use {' or '.join(map(str, near))} (multiples of {multiple})"
        raise AquatintError(f"a resolution of {resolution} does not fit this model: {better}")
    return resolution, resolution


def bucket_of(width_px: int, height_px: int, *, resolution: int, multiple: int, buckets: bool = True) -> Size:
    """The size at which a picture is shown: the bucket whose aspect is nearest, as a ratio; without buckets the square."""
    if not buckets:
        return square_of(resolution, multiple)
    aspect = math.log(width_px / height_px)
    return min(sizes(resolution, multiple), key=lambda size: (abs(math.log(size[0] / size[1]) - aspect), size))


def assign(records: Sequence[ImageRecord], images: Images, *, resolution: int, multiple: int) -> list[Size]:
    """The size at which each record is shown; `resolution` counts where the settings name none."""
    wanted = images.resolution or resolution
    return [bucket_of(r.width_px, r.height_px, resolution=wanted, multiple=multiple, buckets=images.buckets) for r in records]
