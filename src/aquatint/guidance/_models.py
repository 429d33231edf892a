"""Networks that look at pictures: where they come from, and pictures in the form that they take, differentiable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aquatint.errors import BadSetting, why

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = {"pocket": "world/clip"}
"""Names of models that come with the package."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def place(name: str) -> str:
    """The folder of a shipped model; a folder or a Hub id as it is. Raises ValueError where it can be neither."""
    if name in SHIPPED:
        return str(files("aquatint") / "models" / SHIPPED[name])
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return str(path)
    if path.exists():
        raise ValueError(f"{name} is no folder of a transformers model: it has no config.json")
    if not HUB_ID.fullmatch(name):
        raise ValueError(f"there is no folder {name}, and it is no Hub id either; write owner/name, or a folder with a config.json")
    return name


@lru_cache(maxsize=4)
def load(kind: str, name: str) -> Any:
    """A transformers model by the name of its class, frozen, in float32; once for all drawings. Raises `BadSetting`."""
    import transformers

    return _told(name, lambda: getattr(transformers, kind).from_pretrained(place(name), dtype="float32").eval().requires_grad_(False))


@lru_cache(maxsize=4)
def tokenizer(name: str) -> Any:
    """Raises `BadSetting`."""
    from transformers import AutoTokenizer

    return _told(name, lambda: AutoTokenizer.from_pretrained(place(name)))


@dataclass(frozen=True)
class Eye:
    """Pixels in the form that a network takes: squeezed to its size, and normalised as it was trained."""

    size_px: tuple[int, int]
    """Height and width."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W), about in [-1, 1]; differentiable."""
        import torch
        from torch.nn.functional import interpolate

        if pixels_BCHW.shape[2:] != self.size_px:
            pixels_BCHW = interpolate(pixels_BCHW, size=self.size_px, mode="bicubic", antialias=True, align_corners=False)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(pixels_BCHW) for values in (self.mean, self.std))
        return (pixels_BCHW / 2 + 0.5 - mean) / std


@lru_cache(maxsize=4)
def eye(name: str) -> Eye:
    """As the model's `preprocessor_config.json` says. Raises `BadSetting`."""
    from transformers.utils import cached_file

    told = json.loads(Path(_told(name, lambda: cached_file(place(name), "preprocessor_config.json"))).read_text(encoding="utf-8"))
    crop, size = told.get("crop_size") if told.get("do_center_crop") else None, told["size"]
    mean, std = (tuple(told.get(key) or (0.5,) * 3) for key in ("image_mean", "image_std"))
    return Eye(_sides(crop or size), mean, std)


def _sides(size: int | dict[str, int]) -> tuple[int, int]:
    """Older files have a number for the shorter side, or name it."""
    if isinstance(size, int):
        return size, size
    return (size["height"], size["width"]) if "height" in size else (size["shortest_edge"],) * 2


def _told(name: str, read: Callable[[], Any]) -> Any:
    """What libraries raise, as a sentence."""
    try:
        return read()
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadSetting(f"model={name}: cannot be read ({why(error)}); name a folder or Hub id of a model of the right kind") from error
