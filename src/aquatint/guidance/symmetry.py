"""Pictures that are their own mirror image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene

DIMENSIONS = {"sides": (3,), "halves": (2,), "both": (2, 3)}


class Symmetry(Wish, kind="symmetry"):
    """Moves the picture to what it is in a mirror."""

    axis: Literal["sides", "halves", "both"] = "sides"
    """What is alike: left and right `sides`, upper and lower `halves`, or `both` (a half turn)."""

    by: ClassVar = "axis"

    def loss(self, pixels_BCHW: Tensor, scene: Scene) -> Tensor:
        return (pixels_BCHW - pixels_BCHW.flip(DIMENSIONS[self.axis])).square().mean((1, 2, 3))
