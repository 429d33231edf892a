"""A score of yours, of beauty for one, which the drawing is moved to raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator

from aquatint.guidance._functions import called, imported
from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene


class Scorer(Wish, kind="scorer"):
    """Moves the picture to where a function of yours is greatest, or to a `goal`. The module is run, so name none that you do not trust."""

    function: str
    """`my_module.my_score`, in this folder or installed: pixels (B, 3, H, W), about in [-1, 1] -> scores (B,), more is better."""
    goal: float | None = None
    """The score that is enough. Not given: none is, and each look goes as far as `scale` allows."""

    by: ClassVar = "function"

    @field_validator("function")
    @classmethod
    def _is_there(cls, function: str) -> str:
        imported(function)
        return function

    def loss(self, pixels_BCHW: Tensor, scene: Scene) -> Tensor:
        scores = called(imported(self.function), pixels_BCHW, name=self.function)
        return -scores if self.goal is None else (self.goal - scores).clamp(min=0)

    @property
    def is_bounded(self) -> bool:
        return self.goal is not None
