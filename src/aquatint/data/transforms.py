"""Pixels to what the model sees. Pure functions; training, caches and `inspect` all use them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from aquatint.core.randomness import key
from aquatint.data.focus import richest_corner
from aquatint.data.pictures import read_picture
from aquatint.data.places import Place
from aquatint.data.records import ImageRecord
from aquatint.data.settings import Crop, Images

VERSION = 2
"""Part of every cache key: count up when the same picture would give other pixels."""

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class View:
    """All that decides, beside the file, which pixels are shown of it."""

    size: Size
    is_flipped: bool = False
    crop: Crop = "centre"
    number: int = 0
    """Which of a picture's random crops."""
    seed: int = 0
    """Of random crops: the picture's own, made from its content, so that two pictures are not cut alike."""
    matte: str = "white"
    """Colour under what is transparent."""

    def identity(self) -> str:
        """Text that differs wherever `load_pixels` would: with the file's hash it names the pixels in a cache key."""
        crop = f" random {self.seed} {self.number}" if self.crop == "random" else "" if self.crop == "centre" else f" {self.crop}"
        return f"transforms {VERSION} {self.size[0]}x{self.size[1]} {self.matte}{crop}{' flipped' if self.is_flipped else ''}"


def views_of(view: View, picture: Size, *, num_crops: int = 1, has_mirrored: bool = False) -> tuple[View, ...]:
    """All views of an upright picture of this size: every crop of it, each as it is and, if asked for, mirrored.

    Only random crops are several, and where nothing is cut away all are one: the centre.
    """
    if _covering(picture, view.size) == view.size:
        view = replace(view, crop="centre")
    numbers = range(num_crops if view.crop == "random" else 1)
    turns = (False, True) if has_mirrored else (False,)
    return tuple(replace(view, number=number, is_flipped=turn) for number in numbers for turn in turns)


def record_views(record: ImageRecord, size: Size, *, images: Images) -> tuple[View, ...]:
    """All views of a record at `size` that a run with these settings shows; random crops are its content's own, in every run."""
    view = View(size, crop=images.crop, seed=key(0, record.content_hash), matte=images.matte)
    return views_of(view, (record.width_px, record.height_px), num_crops=images.crops, has_mirrored=images.flip)


@dataclass(frozen=True)
class Geometry:
    """How a picture was fitted. Pairs are (down, across), in pixels, as SDXL is told of them."""

    original_size: tuple[int, int]
    """Height and width of the upright picture."""
    crop_top_left: tuple[int, int] | None
    """Top and left edge of the crop, in the resized (and mirrored) picture; None if only its pixels could tell."""
    target_size: tuple[int, int]
    """Height and width of the crop."""
    upscale: float
    """Factor on the sides; over 1 the picture was enlarged."""
    cropped_share: float
    """Part of the area that was cut away, in [0, 1)."""


def geometry_of(picture: Size, view: View) -> Geometry:
    """What `fit` says of a picture of this size, without its pixels; where those decide, `crop_top_left` is None."""
    covering = _covering(picture, view.size)
    is_open = view.crop == "focus" and covering != view.size
    return _geometry(picture, view, corner=None if is_open else _corner(covering, view))


def fit(image: Image.Image, view: View) -> tuple[Image.Image, Geometry]:
    """Scale to cover the view's size and cut out its window; a picture on its size keeps its pixels.

    Flipped is the exact mirror of not flipped.
    """
    covering = _covering(image.size, view.size)
    is_open = view.crop == "focus" and covering != view.size
    corner = richest_corner(image, covering, size=view.size) if is_open else _corner(covering, view)
    cut = _cut(image, covering, corner=corner, view=view, smoothing=Image.Resampling.LANCZOS)
    return cut, _geometry(image.size, view, corner=corner)


def fit_mask(mask: Image.Image, view: View, *, geometry: Geometry) -> Tensor:
    """The part of a grey mask that lies over the picture's pixels: float32 (1, height, width) in [0, 1].

    `geometry` is what `fit` said of the picture. A mask of another size is taken as drawn over the whole picture.
    """
    if geometry.crop_top_left is None:
        raise ValueError("the geometry must be that of a picture that was fitted")
    covering = _covering(geometry.original_size[::-1], view.size)
    corner = _turned(geometry.crop_top_left[::-1], covering, view=view)
    cut = _cut(mask.convert("L"), covering, corner=corner, view=view, smoothing=Image.Resampling.BILINEAR)  # without Lanczos' ringing
    return torch.from_numpy(np.array(cut))[None].float() / 255.0


def to_latent_mask(mask_1HW: Tensor, factor: int) -> Tensor:
    """(1, H, W) -> (1, H / factor, W / factor), the mean of each block; H and W must be divisible by it."""
    _, height, width = mask_1HW.shape
    return mask_1HW.reshape(1, height // factor, factor, width // factor, factor).mean((2, 4))


def _covering(picture: Size, size: Size) -> Size:
    """The least scaled picture that covers `size`; it fits on one side."""
    upscale = max(size[0] / picture[0], size[1] / picture[1])
    return max(size[0], round(picture[0] * upscale)), max(size[1], round(picture[1] * upscale))


def _corner(covering: Size, view: View) -> Size:
    """Left and top of the window where pixels do not decide it, before mirroring."""
    left, top = covering[0] - view.size[0], covering[1] - view.size[1]
    if view.crop != "random":
        return left // 2, top // 2
    return key(view.seed, view.number, "left") % (left + 1), key(view.seed, view.number, "top") % (top + 1)


def _turned(corner: Size, covering: Size, *, view: View) -> Size:
    """Left and top of the window after mirroring for those before it, and the other way round."""
    return (covering[0] - view.size[0] - corner[0], corner[1]) if view.is_flipped else corner


def _geometry(picture: Size, view: View, *, corner: Size | None) -> Geometry:
    width, height = view.size
    covering = _covering(picture, view.size)
    return Geometry(
        original_size=picture[::-1],
        crop_top_left=None if corner is None else _turned(corner, covering, view=view)[::-1],
        target_size=(height, width),
        upscale=max(width / picture[0], height / picture[1]),
        cropped_share=1.0 - (width * height) / (covering[0] * covering[1]),
    )


def _cut(image: Image.Image, covering: Size, *, corner: Size, view: View, smoothing: Image.Resampling) -> Image.Image:
    """Resample the window and nothing else, for a long thin picture cannot be enlarged whole: one of 5000 x 1 fills gigabytes."""
    (left, top), (width, height) = corner, view.size
    if image.size == covering:
        cut = image.crop((left, top, left + width, top + height))
    else:
        x, y = image.width / covering[0], image.height / covering[1]
        box = left * x, top * y, min(image.width, (left + width) * x), min(image.height, (top + height) * y)
        cut = image.resize(view.size, smoothing, box=box)
    return ImageOps.mirror(cut) if view.is_flipped else cut


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous().float() / 127.5 - 1.0


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] -> RGB image; undoes `to_tensor`, values outside are clipped."""
    values = ((pixels.detach().float().cpu() + 1.0) * 127.5).round().clamp(0, 255).byte()
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def load_pixels(place: Place | Path, view: View, *, content: bytes | None = None) -> tuple[Tensor, Geometry]:
    """What the model sees of one file: float32 (3, height, width) in [-1, 1]; `content` is its bytes, if at hand. Raises BadPicture."""
    image, geometry = fit(read_picture(place, matte=view.matte, content=content).image, view)
    return to_tensor(image), geometry
