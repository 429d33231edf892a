"""A colour for the whole picture, or a palette: the colour loss of the diffusion course, made to work on every model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator

from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene


class Color(Wish, kind="color"):
    """Moves the mean colour of the picture to `target`; of several colours each place moves to the one that it is nearest to."""

    target: str
    """A colour as in HTML, `teal`, `#0a7` or `rgb(0, 160, 120)`; several as a palette, with `+` between: `navy+gold+white`."""

    by: ClassVar = "target"

    @field_validator("target")
    @classmethod
    def _is_known(cls, target: str) -> str:
        from PIL.ImageColor import getrgb

        for name in target.split("+"):
            try:
                getrgb(name.strip())
            except ValueError:
                raise ValueError(f"{name.strip()!r} is no colour; write teal, #0a7 or rgb(0, 160, 120), and + between several") from None
        return target

    def loss(self, pixels_BCHW: Tensor, scene: Scene) -> Tensor:
        wanted_KC = self._colours().to(pixels_BCHW)
        if len(wanted_KC) == 1:
            return (pixels_BCHW.mean((2, 3)) - wanted_KC).square().mean(1)
        distance_BKHW = (pixels_BCHW[:, None] - wanted_KC[None, :, :, None, None]).square().mean(2)
        return distance_BKHW.amin(1).mean((1, 2))

    def _colours(self) -> Tensor:
        """(K, 3) in [-1, 1]."""
        import torch
        from PIL.ImageColor import getrgb

        return torch.tensor([getrgb(name.strip())[:3] for name in self.target.split("+")]) / 127.5 - 1
