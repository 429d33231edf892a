"""Likeness to a picture: its colours and forms at several sizes, without a network that was trained to see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from aquatint.guidance._pictures import check_picture, pixels_of
from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene
    from aquatint.core.steering import Loss


class Image(Wish, kind="image"):
    """Moves the picture to be like `target`: in the mean colours of blocks, and in how these differ from their neighbours."""

    target: Path
    """The picture; cut to the shape of what is drawn, around its middle."""
    detail: int = Field(8, ge=1)
    """How many blocks stand along the shorter side. Blocks twice as large, four times and so on are compared beside them; 1 is the mean
    colour alone, and as many as pixels ask for the picture itself."""

    by: ClassVar = "target"

    @field_validator("target")
    @classmethod
    def _is_picture(cls, target: Path) -> Path:
        return check_picture(target)

    def losses(self, scene: Scene) -> Loss:
        wanted = pixels_of(self.target, scene.size_px)

        def losses(pixels: Tensor) -> Tensor:
            """Mean over the sizes of blocks; quadratic in the picture."""
            import torch

            difference, levels = pixels - wanted.to(pixels), self._levels(pixels)
            return torch.stack([_unlike(_blocks(difference, num)) for num in levels]).mean(0)

        return losses

    def _levels(self, pixels: Tensor) -> list[int]:
        num, levels = min(self.detail, *pixels.shape[2:]), []
        while num:
            levels.append(num)
            num //= 2
        return levels


def _blocks(difference_BCHW: Tensor, num: int) -> Tensor:
    """(B, 3, h, w): means over blocks, `num` of them along the shorter side."""
    from torch.nn.functional import adaptive_avg_pool2d

    height, width = difference_BCHW.shape[2:]
    shorter = min(height, width)
    return adaptive_avg_pool2d(difference_BCHW, (round(num * height / shorter), round(num * width / shorter)))


def _unlike(blocks_BCHW: Tensor) -> Tensor:
    """(B,): mean square of the differences, and of those between neighbours down and across."""
    rows, columns = blocks_BCHW.diff(dim=2), blocks_BCHW.diff(dim=3)
    return sum(part.square().flatten(1).mean(1) for part in (blocks_BCHW, rows, columns) if part.numel())  # type: ignore[return-value]
