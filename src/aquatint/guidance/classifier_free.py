"""Classifier-free guidance (Ho & Salimans 2022): away from what the model says without the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from aquatint.errors import BadSetting
from aquatint.guidance.base import Guidance

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Denoiser, Scene


class ClassifierFree(Guidance, kind="classifier_free"):
    """Goes from what is said without the prompt to what is said with it, and beyond. Is there by itself where `scale` asks for it."""

    scale: float = Field(5.0, ge=0)
    """1 is the prompt alone; larger values follow it more closely."""
    rescale: float = Field(0.0, ge=0, le=1)
    """Share to which the spread of the network's output is brought back to what it was: against glaring colours (Lin et al. 2023)."""

    def steer(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        from aquatint.core.steering import apart, rescaled

        if scene.both is None:
            why = "this model says nothing without a prompt that could be subtracted"
            raise BadSetting(f"classifier_free: {why}; leave it out, or draw with scale=2 or more")
        pair = apart(denoise, scene)

        def guided(x_t: Tensor, t: Tensor) -> Tensor:
            given, against = pair(x_t, t)
            x_0 = against + self.scale * (given - against)
            return rescaled(x_0, given, x_t=x_t, t=t, objective=scene.objective, share=self.rescale) if self.rescale else x_0

        return guided
