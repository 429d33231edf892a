"""Which noise levels are trained, and how often: inverses of distribution functions on [0, 1]. t = 0 is data, t = 1 is noise."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TimeSampler = Callable[[Tensor], Tensor]
"""Uniform numbers in [0, 1), (B,) -> times t, (B,): the inverse of a distribution function."""
TimesKind = Literal["uniform", "logit_normal", "mode", "cosmap"]


def shifted(t: Tensor, shift: float) -> Tensor:
    """More noise for a shift above 1, as larger pictures need (Esser et al. 2024, eq. 23)."""
    return shift * t / (1.0 + (shift - 1.0) * t)


@dataclass(frozen=True)
class Uniform:
    """All alike."""

    shift: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        return shifted(u, self.shift)


@dataclass(frozen=True)
class LogitNormal:
    """More of the middle noise levels (Esser et al. 2024, section 3.1); a mean above 0 is more noise."""

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        return shifted(torch.sigmoid(self.mean + self.std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))), self.shift)


@dataclass(frozen=True)
class Mode:
    """More of the middle for a scale above 0, more of the ends below, none left out (Esser et al. 2024, eq. 20).

    The scale lies in [-1, 2 / (pi - 2)]: beyond, the function is no longer monotonic.
    """

    mode_scale: float = 1.29
    shift: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        v = 1.0 - u  # so that t rises with u
        t = 1.0 - v - self.mode_scale * (torch.cos(math.pi / 2 * v) ** 2 - 1.0 + v)
        return shifted(t.clamp(0.0, 1.0), self.shift)


@dataclass(frozen=True)
class CosMap:
    """The log-SNR of the cosine schedule, on straight lines (Esser et al. 2024, eq. 21)."""

    shift: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        return shifted(1.0 - 1.0 / (torch.tan(math.pi / 2 * u) + 1.0), self.shift)


@dataclass(frozen=True)
class UniformSteps:
    """Every training step equally often (Ho et al. 2020)."""

    num_steps: int = 1000

    def __call__(self, u: Tensor) -> Tensor:
        return on_grid(u, self.num_steps)


@dataclass(frozen=True)
class OnGrid:
    """Times of another distribution, each rounded up to one of the training steps."""

    times: TimeSampler
    num_steps: int = 1000

    def __call__(self, u: Tensor) -> Tensor:
        return on_grid(self.times(u), self.num_steps)


def on_grid(t: Tensor, num_steps: int) -> Tensor:
    return ((t * num_steps).floor() + 1).clamp(max=num_steps) / num_steps


TIMES: dict[TimesKind, type[Uniform | LogitNormal | Mode | CosMap]] = {
    "uniform": Uniform, "logit_normal": LogitNormal, "mode": Mode, "cosmap": CosMap,
}  # fmt: skip
