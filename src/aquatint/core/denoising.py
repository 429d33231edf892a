"""Denoisers, and what steers them: functions on functions. Shapes as in `process.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from aquatint.core.objective import Network, Objective
from aquatint.core.process import to_x_0

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, H, W), t (B,)) -> the clean samples that are expected, E[x_0 | x_t], in the network's units."""


@dataclass(frozen=True)
class Scene:
    """What a guidance may know of the pictures that are being drawn."""

    objective: Objective
    decode: Callable[[Tensor], Tensor]
    """The network's units -> pixels (B, 3, H, W), about in [-1, 1]; differentiable."""
    encode: Callable[[Tensor], Tensor]
    """Pixels (B, 3, H, W) in [-1, 1] -> the network's units; the mean where an encoder is unsure."""
    size_px: tuple[int, int]
    """Width and height of the pictures."""
    seeds: Sequence[int]
    """Of each picture."""
    told: Denoiser
    """The denoiser with the prompt, which nothing steers."""
    both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    """What it says with the prompt and without, in one call of the network; None where there is nothing without."""
    is_latent: bool = False
    """Whether the network's units are an autoencoder's."""


class Guidance(Protocol):
    """Something that steers: a denoiser in, another one out. Guidances fold, the first of them innermost."""

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser: ...


def denoiser(objective: Objective, network: Network) -> Denoiser:
    """The clean samples that a network's outputs imply."""

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return to_x_0(objective.process, objective.prediction, output=network(x_t, t).to(x_t.dtype), x_t=x_t, t=t)

    return denoise


def fold(guidances: Sequence[Guidance], denoise: Denoiser, *, scene: Scene) -> Denoiser:
    """The denoiser that all of them steer; the first one is asked first."""
    for guidance in guidances:
        denoise = guidance.wrap(denoise, scene)
    return denoise
