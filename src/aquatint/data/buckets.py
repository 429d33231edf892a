"""Aspect buckets: the few sizes at which pictures of all shapes are shown, so that batches can be formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from aquatint.data.records import ImageRecord
from aquatint.data.settings import Images
from aquatint.errors import AquatintError

Size = tuple[int, int]
"""(width, height) in pixels."""
MAX_UPSCALE = 1.5
"""A picture that is enlarged more on its sides is shown soft, and teaches that."""
MAX_ASPECT = 2.4
"""Of width to height or height to width; longer pictures are cropped. 2.4 is the longest that SDXL was trained on."""
MOST_SHOWN = 10_000_000
"""Pictures in one epoch, repeats included: each is a place in the plan."""
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


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture at one of the sizes at which it is shown."""

    record: int
    """Index of it."""
    size: Size


def samples(records: Sequence[ImageRecord], images: Images, *, resolution: int, multiple: int) -> list[Shown]:
    """What an epoch shows, in the order of the records: each at every size that is right for it, its `repeats` times over.

    `resolution` counts where the settings name none. Raises AquatintError for a resolution that is no multiple, and for
    more than MOST_SHOWN.
    """
    if (total := sum(record.repeats for record in records)) > MOST_SHOWN:
        raise AquatintError(f"with their repeats the pictures come {total:,} times an epoch, over {MOST_SHOWN:,}: lower them")
    asked = images.resolutions or (resolution,)
    return [
        Shown(index, size)
        for index, record in enumerate(records)
        for size in _sizes_of(record, asked, multiple=multiple, buckets=images.buckets)
        for _ in range(record.repeats)
    ]


def _sizes_of(record: ImageRecord, asked: Sequence[int], *, multiple: int, buckets: bool) -> list[Size]:
    """Those of the resolutions, ascending, that enlarge a picture no more than MAX_UPSCALE, or the smallest."""
    width, height = record.width_px, record.height_px
    found = dict.fromkeys(bucket_of(width, height, resolution=side, multiple=multiple, buckets=buckets) for side in asked)
    smallest, *others = found
    return [smallest, *(size for size in others if max(size[0] / width, size[1] / height) <= MAX_UPSCALE)]
