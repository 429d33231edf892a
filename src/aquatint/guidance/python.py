"""Any function of yours: pictures in, a loss for each of them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator

from aquatint.guidance._functions import called, imported
from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene


class Python(Wish, kind="python"):
    """Moves the picture to where a function of yours is least. The module is run, so name none that you do not trust."""

    function: str
    """`my_module.my_loss`, in this folder or installed: pixels (B, 3, H, W), about in [-1, 1] -> losses (B,), 0 where nothing is left
    to wish. A loss below 0 has no such end, and each look goes as far as `scale` allows."""

    by: ClassVar = "function"

    @field_validator("function")
    @classmethod
    def _is_there(cls, function: str) -> str:
        imported(function)
        return function

    def loss(self, pixels_BCHW: Tensor, scene: Scene) -> Tensor:
        return called(imported(self.function), pixels_BCHW, name=self.function)
