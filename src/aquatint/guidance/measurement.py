"""A measurement of the picture, spoiled in a known way: what is drawn fits it, and is what the model would draw otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from aquatint.config import Config
from aquatint.errors import BadSetting
from aquatint.guidance._degradations import Degradation, Given
from aquatint.guidance.base import Guidance

if TYPE_CHECKING:
    from aquatint.core.denoising import Denoiser, Scene

Method = Literal["dps", "pigdm", "ddnm", "moment"]
ITERATIONS = 3
Settings = TypeVar("Settings", bound=Config)


def has_effect(settings: Settings) -> Settings:
    """Raises ValueError for iterations beside a method that has none."""
    if getattr(settings, "iterations") and getattr(settings, "method") != "moment":  # noqa: B009 - of two classes
        raise ValueError("iterations: only method=moment has any; leave them out")
    return settings


class Measurement(Guidance, kind="measurement"):
    """Draws what fits a spoiled picture. `aquatint restore` is this with mean and uncertainty of several."""

    image: Path
    """What is left of the picture: a picture or scan, or k-space of an MRI (`.npy`)."""
    operator: Degradation = Field(default="denoise", validate_default=True)
    """What was done to it: denoise, inpaint, superres, deblur or mri, each with options of its own."""
    noise: float | None = Field(None, ge=0, le=1)
    """Standard deviation of its noise, in shares of the range from black to white. Not given: 0.1 for denoise, else 0."""
    method: Method | None = None
    """How measurement and model are joined. Not given: `ddnm`, or `dps` for models on latents, which is the only one for them."""
    iterations: PositiveInt | None = None
    """Of conjugate gradients at each step, by `moment`. Not given: 3."""

    by: ClassVar = "image"

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        return has_effect(self)

    def steer(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        return self.fit(self.operator.given_file(self.image)).wrap(denoise, scene)

    def fit(self, given: Given) -> Fit:
        """The same for a measurement that was read already."""
        std = self.operator.default_noise if self.noise is None else self.noise
        return Fit(given, 2 * std, self.method, self.iterations or ITERATIONS)


@dataclass(frozen=True)
class Fit:
    """A guidance: pictures that fit what was given."""

    given: Given
    noise_std: float
    """In the units of pictures in [-1, 1]."""
    method: Method | None
    iterations: int

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        """Raises `BadSetting` for another size than the measurement's, and for what cannot be done through a decoder."""
        from aquatint.core.posterior import Measured, conditioned

        if scene.size_px != self.given.size_px:
            (width, height), (across, down) = self.given.size_px, scene.size_px
            raise BadSetting(f"the measurement is of {width} x {height} px, and {across} x {down} are drawn; say size={width},{height}")
        if scene.is_latent and self.method not in (None, "dps"):
            raise BadSetting(f"method={self.method} needs a model on pixels, and this one's are latents; use method=dps")
        y = self.given.y
        if not scene.is_latent and not y.is_complex():
            y = scene.encode(y)
        method = self.method or ("dps" if scene.is_latent else "ddnm")
        measured = Measured(self.given.operator, y, self.noise_std, method, self.iterations, is_decoded=scene.is_latent)
        return conditioned(denoise, measured, scene=scene)
