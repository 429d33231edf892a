"""Pixels to what the model sees. Pure functions; training, caches and `inspect` all use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from aquatint.data.pictures import open_picture
from aquatint.data.places import Place

VERSION = 1
"""Part of every cache key: count up when the same picture would give other pixels."""


@dataclass(frozen=True)
class Geometry:
    """How a picture was fitted. Pairs are (down, across), in pixels, as SDXL is told of them."""

    original_size: tuple[int, int]
    """Height and width of the upright picture."""
    crop_top_left: tuple[int, int]
    """Top and left edge of the crop, in the resized (and mirrored) picture."""
    target_size: tuple[int, int]
    """Height and width of the crop."""
    upscale: float
    """Factor on the sides; over 1 the picture was enlarged."""
    cropped_share: float
    """Part of the area that was cut away, in [0, 1)."""


def fit(image: Image.Image, size: tuple[int, int], *, is_flipped: bool = False) -> tuple[Image.Image, Geometry]:
    """Scale to cover `size` (width, height) and cut out its centre; a picture on its size keeps its pixels.

    Flipped is the exact mirror of not flipped.
    """
    width, height = size
    upscale = max(width / image.width, height / image.height)
    covering = max(width, round(image.width * upscale)), max(height, round(image.height * upscale))
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    resized = image if covering == image.size else image.resize(covering, Image.Resampling.LANCZOS)
    cropped = resized if covering == size else resized.crop((left, top, left + width, top + height))
    geometry = Geometry(
        original_size=(image.height, image.width),
        crop_top_left=(top, covering[0] - width - left if is_flipped else left),
        target_size=(height, width),
        upscale=upscale,
        cropped_share=1.0 - (width * height) / (covering[0] * covering[1]),
    )
    return ImageOps.mirror(cropped) if is_flipped else cropped, geometry


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous().float() / 127.5 - 1.0


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] -> RGB image; undoes `to_tensor`, values outside are clipped."""
    values = ((pixels.detach().float().cpu() + 1.0) * 127.5).round().clamp(0, 255).byte()
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def load_pixels(place: Place | Path, size: tuple[int, int], *, matte: str = "white", is_flipped: bool = False) -> tuple[Tensor, Geometry]:
    """What the model sees of one file at `size` (width, height): float32 (3, height, width) in [-1, 1]. Raises BadPicture."""
    image, geometry = fit(open_picture(place, matte=matte), size, is_flipped=is_flipped)
    return to_tensor(image), geometry


def identity(size: tuple[int, int], *, matte: str = "white", is_flipped: bool = False) -> str:
    """Text that differs wherever `load_pixels` would: with the file's hash it names its pixels in a cache key."""
    return f"transforms {VERSION} {size[0]}x{size[1]} {matte}{' flipped' if is_flipped else ''}"
