"""What a guidance decides. Guidances are settings that act on denoisers (`core/denoising.py`), and fold in the order they are given."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from aquatint.config import Choice
from aquatint.registry import guidances

if TYPE_CHECKING:  # settings load in milliseconds; torch is imported by the code that computes
    from torch import Tensor

    from aquatint.core.denoising import Denoiser, Scene
    from aquatint.core.steering import Loss

SHORT = re.compile(r"(?P<kind>[a-z_]+)(:(?P<value>.*?))?(\*(?P<scale>\d+(\.\d*)?|\.\d+))?", re.DOTALL)
"""`color:red*0.5`: the kind, what it steers by, and its scale."""


class Guidance(Choice, default_kind="classifier_free", discover=lambda: [guidances[name] for name in guidances.names()]):
    """Frozen settings that steer a denoiser. Subclass with `kind=` in a file of its own."""

    start: float = Field(1.0, ge=0, le=1)
    """Steers from this noise level on; 1 is pure noise, where drawing begins."""
    stop: float = Field(0.0, ge=0, le=1)
    """Steers down to this noise level; 0 is the finished picture."""

    by: ClassVar[str] = "scale"
    """The setting that stands after the colon in `kind:value`."""

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.stop >= self.start:
            raise ValueError(f"stop={self.stop:g} must be below start={self.start:g}: drawing goes from 1 down to 0")
        return self

    @classmethod
    def resolve(cls, value: Any, _handler: object = None) -> Choice:
        """Also the short form, `kind:value*scale`."""
        if isinstance(value, str) and (short := SHORT.fullmatch(value)):
            variant = cls.named(short["kind"])
            given = {variant.by: short["value"] or None, "scale": short["scale"]} if variant and issubclass(variant, Guidance) else {}
            value = {"kind": short["kind"], **{name: said for name, said in given.items() if said is not None}}
        return super().resolve(value)

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        """The steered denoiser, for the noise levels between `start` and `stop`. Reads what it needs now, not at every step."""
        steered = self.steer(denoise, scene)

        def chosen(x_t: Tensor, t: Tensor) -> Tensor:
            is_now = self.stop <= float(t[0]) <= self.start
            return (steered if is_now else denoise)(x_t, t)

        return chosen

    @abstractmethod
    def steer(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        """The steered denoiser. Raises `BadSetting` for what cannot be had of this model."""


class Wish(Guidance):
    """A differentiable loss on the finished picture, which the drawing is moved to lessen (Bansal et al. 2023).

    A guidance of your own is a subclass with a `loss`.
    """

    scale: float = Field(1.0, ge=0)
    """How strongly it steers: to this size the gradient of the wish is brought before it moves what is expected, so that it means the
    same for every loss, model, size and number of steps. Never further than to where the loss would be zero."""
    units: Literal["spread", "likelihood"] = "spread"
    """What `scale` counts in. `spread`: standard deviations of the data, as said there. `likelihood` takes scale times the loss as the
    negative logarithm of how likely the wish is met, and draws what is expected then: exact for losses linear or quadratic in the
    picture, and dearer."""
    through: Literal["denoiser", "estimate"] = "denoiser"
    """Whose gradient: `denoiser` asks what the network would make of a change, at the cost of a backward pass through it;
    `estimate` moves the expected picture itself, cheaper and with less regard to what looks right."""

    def loss(self, pixels_BCHW: Tensor, scene: Scene) -> Tensor:
        """(B,), 0 or more, less where the wish is met more; of pictures (B, 3, H, W), about in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has neither a loss nor losses")

    def losses(self, scene: Scene) -> Loss:
        """Pictures -> losses. Override this instead where something is to be loaded: it is called once for a drawing."""
        return lambda pixels: self.loss(pixels, scene)

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        """In units of likelihood several are solved as one, each at the noise levels that are its own."""
        if self.units == "spread":
            return super().wrap(denoise, scene)
        from aquatint.core.steering import tilted

        is_through, window = self.through == "denoiser", (self.start, self.stop)
        return tilted(denoise, self.losses(scene), scene=scene, scale=self.scale, is_through=is_through, window=window)

    def steer(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        from aquatint.core.steering import nudged

        is_through, is_bounded = self.through == "denoiser", self.is_bounded
        return nudged(denoise, self.losses(scene), scene=scene, scale=self.scale, is_through=is_through, is_bounded=is_bounded)

    @property
    def is_bounded(self) -> bool:
        """Whether a loss of 0 is the end: a step then goes no further than to where it would be reached."""
        return True
