"""The part of `torchvision.transforms` that diffusers' text-to-image examples use, on Pillow and torch.

There is no torchvision for every build of torch. Where it is installed, it is used, and this file does nothing.
"""

import random
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps


class InterpolationMode(Enum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    BOX = "box"
    HAMMING = "hamming"


class Compose:
    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = transforms

    def __call__(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value


class Lambda:
    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def __call__(self, value: Any) -> Any:
        return self.function(value)


class Resize:
    """The shorter side becomes `size` pixels."""

    def __init__(self, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR):
        self.size, self.resample = size, Image.Resampling[interpolation.name]

    def __call__(self, image: Image.Image) -> Image.Image:
        short = min(image.size)
        width, height = (self.size if side == short else int(self.size * side / short) for side in image.size)
        return image if (width, height) == image.size else image.resize((width, height), self.resample)


class CenterCrop:
    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = (round((side - self.size) / 2) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class RandomCrop:
    def __init__(self, size: int):
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = (random.randint(0, side - self.size) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class RandomHorizontalFlip:
    def __call__(self, image: Image.Image) -> Image.Image:
        return ImageOps.mirror(image) if random.random() < 0.5 else image


class ToTensor:
    """(C, H, W) in [0, 1]."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.uint8).copy()).permute(2, 0, 1).float() / 255


class Normalize:
    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.mean) / self.std


PARTS = (InterpolationMode, Compose, Lambda, Resize, CenterCrop, RandomCrop, RandomHorizontalFlip, ToTensor, Normalize)


def is_missing() -> bool:
    return find_spec("torchvision") is None


def install_if_missing() -> None:
    """Other libraries look whether torchvision is there; they look first, and see that it is not."""
    if not is_missing():
        return
    import datasets  # noqa: F401
    from transformers.utils import is_torchvision_available, is_torchvision_v2_available

    is_torchvision_available()
    is_torchvision_v2_available()
    package, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
    for part in PARTS:
        setattr(transforms, part.__name__, part)
    for module in (package, transforms):
        module.__spec__ = ModuleSpec(module.__name__, None)
    package.__dict__["transforms"] = transforms
    sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}
