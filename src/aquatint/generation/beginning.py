"""Drawing from a picture of the user's: to change all of it, or what a mask lets through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from aquatint.core.family import Bundle
from aquatint.data.pictures import open_picture
from aquatint.data.transforms import View, fit, to_tensor
from aquatint.errors import BadSetting
from aquatint.generation.sampling import Start
from aquatint.generation.settings import Drawing

if TYPE_CHECKING:
    from aquatint.core.denoising import Denoiser, Scene

STRENGTH = 0.75
"""How much of a picture changes when the user does not say."""


@dataclass(frozen=True)
class Beginning:
    """What `image` and `mask` ask for."""

    picture: Image.Image
    """At the size that is drawn."""
    start: Start
    mask: Image.Image | None = None
    """Mode L, white where it is drawn anew."""

    def finished(self, drawn: Image.Image) -> Image.Image:
        """With the user's own pixels where the mask is black: an autoencoder would have changed them a little."""
        return drawn if self.mask is None else Image.composite(drawn, self.picture, self.mask)


@dataclass(frozen=True)
class Kept:
    """Guidance: what a mask keeps is known, so it is what is expected there at every step (Wang et al. 2023, DDNM, on a mask)."""

    x_0_BCHW: Tensor
    anew_11HW: Tensor
    """1 where the picture is drawn anew, at the network's size."""

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        return lambda x_t, t: torch.lerp(self.x_0_BCHW.to(x_t), denoise(x_t, t), self.anew_11HW.to(x_t))


def size_for(bundle: Bundle, drawing: Drawing) -> tuple[int, int]:
    """Of the pictures to draw: as asked, or in the shape of `image` and about as large as the model was made for."""
    if drawing.size is not None or drawing.image is None or bundle.is_framed:
        return drawing.size or (bundle.resolution_px, bundle.resolution_px)
    width, height = open_picture(drawing.image).size
    factor, multiple = (bundle.resolution_px**2 / (width * height)) ** 0.5, bundle.side_multiple
    across, down = (max(multiple, round(side * factor / multiple) * multiple) for side in (width, height))
    return across, down


def begin(bundle: Bundle, drawing: Drawing, *, size: tuple[int, int], precision: torch.dtype = torch.float32) -> Beginning | None:
    """Raises `BadPicture` for files that are none, `BadSetting` for a mask of another size than its picture."""
    if drawing.image is None:
        return None
    picture = _fitted(drawing.image, size)
    if drawing.mask:
        (width, height), (across, down) = open_picture(drawing.image).size, open_picture(drawing.mask).size
        if (width, height) != (across, down):
            raise BadSetting(f"mask={drawing.mask}: it has {across} x {down} px and the picture {width} x {height}; they must agree")
    autocast = torch.autocast(bundle.device.type, precision, enabled=precision != torch.float32)
    with bundle.gathered(), torch.no_grad(), autocast:
        x_0 = bundle.family.encode_images(bundle, to_tensor(picture)[None].to(bundle.device)).mean_BCHW.float()
    mask = _fitted(drawing.mask, size).convert("L") if drawing.mask else None
    strength = drawing.strength or (STRENGTH if mask is None else 1.0)
    return Beginning(picture, Start(x_0, strength), mask)


def kept(beginning: Beginning) -> Kept:
    """Of a beginning with a mask. A place of the network's is drawn anew where any of its pixels is."""
    assert beginning.mask is not None
    anew = (to_tensor(beginning.mask.convert("RGB"))[None, :1] + 1) / 2
    height, width = beginning.start.x_0_BCHW.shape[-2:]
    factor = anew.shape[-1] // width
    widest = torch.nn.functional.max_pool2d(anew, factor) if factor > 1 else anew
    return Kept(beginning.start.x_0_BCHW, interpolate(widest, (height, width)))


def _fitted(path: Path, size: tuple[int, int]) -> Image.Image:
    return fit(open_picture(path), View(size))[0]
