"""What scans of every format share: planes of numbers to grey, square pixels, and one reason why a scan cannot be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

MAX_PIXELS = 178_956_970
"""Of one plane; a header that announces more is never decoded."""
SHARE_PERCENT = 0.5
"""Of the values at either end that may be clipped where a file does not say what black and white are: one bright spot darkens nothing."""
NUM_SAMPLED = 4_000_000
"""Values that tell the range of a larger volume; its ends then vary by less than one in a hundred of the share above."""
MAX_STRETCH = 32
"""Pixels announced to be longer than this beside their width are not believed. Slices of 10 mm over pixels of 0.4 mm make 25."""
Numbers = np.ndarray[Any, np.dtype[Any]]


class UnreadableScan(ValueError):
    """A scan that cannot be a picture; `reason` says why, `advice` what would help."""

    def __init__(self, reason: str, advice: str = ""):
        self.reason, self.advice = reason, advice
        super().__init__(reason)


@contextmanager
def reasons() -> Iterator[None]:
    """Whatever a reader of damaged bytes raises becomes UnreadableScan; only a lack of memory stays what it is."""
    try:
        with np.errstate(all="ignore"):  # what overflows is damage, and told as such
            yield
    except (UnreadableScan, MemoryError):
        raise
    except Exception as error:  # AttributeError, KeyError, TypeError, struct.error, RecursionError …: by the damage
        what = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableScan(f"is cut off or damaged ({what})", "replace it with a whole copy") from error


def needed(module: str) -> Any:
    """A module of the extra `medical`. Raises UnreadableScan where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UnreadableScan(f"needs {module.partition('.')[0]}", "pip install 'aquatint[medical]'") from error


def extent(values: Numbers) -> tuple[float, float] | None:
    """The values to show as black and white: all but the rarest at both ends. None where all are the same, or none is a number."""
    values = values.reshape(-1)
    some = values if values.size <= NUM_SAMPLED else values[np.random.default_rng(0).integers(0, values.size, NUM_SAMPLED)]
    for numbers, share in ((some, SHARE_PERCENT), (values, 0.0)):  # a small spot on one ground is all there is: nothing may be clipped
        numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            low, high = (float(end) for end in np.percentile(numbers, [share, 100 - share]))
            if low < high:
                return low, high
    return None


def grey(values: Numbers, ends: tuple[float, float]) -> Numbers:
    """Numbers to 0 (the first end and less, and what is no number) … 255 (the second and more), as uint8."""
    low, high = ends
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0.0, 255.0)).astype(np.uint8)


def squared(image: Image.Image, *, spacing: tuple[float, float]) -> tuple[Image.Image, list[str]]:
    """The picture with square pixels, from the height and width of those it has (any unit), and remarks.

    The coarser side is enlarged, so that nothing is lost; where that would be too much, the finer one is made smaller.
    """
    height, width = spacing
    ratio = height / width if math.isfinite(height) and math.isfinite(width) and min(height, width) > 0 else 1.0
    if abs(ratio - 1) < 0.01:
        return image, []
    size = f"{height:.3g} x {width:.3g}"
    if not 1 / MAX_STRETCH <= ratio <= MAX_STRETCH:
        return image, [f"announces pixels of {size} (height x width): not believed, taken as square"]
    larger = (image.width, image.height * ratio) if ratio > 1 else (image.width / ratio, image.height)
    smaller = (image.width / ratio, image.height) if ratio > 1 else (image.width, image.height * ratio)
    columns, rows = larger if larger[0] * larger[1] <= MAX_PIXELS else smaller
    image = image.resize((max(1, round(columns)), max(1, round(rows))), Image.Resampling.BICUBIC)
    return image, [f"has pixels of {size} (height x width): made square, {image.width} x {image.height}"]
