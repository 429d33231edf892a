"""The training objective: which noise level, which target, how much it counts. One formula for every family."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from aquatint.core.process import NoiseProcess, Prediction, output_weight, perturb, target
from aquatint.core.randomness import SampleRandom

TimeSampler = Callable[[Tensor], Tensor]
"""Uniform numbers in [0, 1), (B,) -> times t, (B,): the inverse of a distribution function."""
Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> the network's raw output."""


class Weighting(Protocol):
    """-> weight of each sample, (B,)."""

    def __call__(self, process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class UniformSteps:
    """Every training step equally often (Ho et al. 2020)."""

    num_steps: int = 1000

    def __call__(self, u: Tensor) -> Tensor:
        return ((u * self.num_steps).floor() + 1) / self.num_steps


@dataclass(frozen=True)
class LogitNormal:
    """More of the middle noise levels (Esser et al. 2024, section 3.1); `shift` as in their eq. 23."""

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        t = torch.sigmoid(self.mean + self.std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))
        return self.shift * t / (1.0 + (self.shift - 1.0) * t)


def even(process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
    """Plain mean squared error of the network's output."""
    return torch.ones_like(t)


@dataclass(frozen=True)
class MinSNR:
    """Cap the weight of easy noise levels (Hang et al. 2023): min(SNR, gamma) on the error in x_0."""

    gamma: float = 5.0

    def __call__(self, process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
        snr = (process.alpha(t) / process.sigma(t)) ** 2
        return snr.clamp(max=self.gamma) * output_weight(process, prediction, t=t)


@dataclass(frozen=True)
class Lesson:
    """What the network is shown, and what it should answer."""

    x_t_BCHW: Tensor
    t_B: Tensor
    wanted_BCHW: Tensor
    mask_B1HW: Tensor | None = None
    """How much each place counts, in [0, 1]; None for all alike."""

    def to(self, device: torch.device) -> "Lesson":
        mask = None if self.mask_B1HW is None else self.mask_B1HW.to(device)
        return Lesson(self.x_t_BCHW.to(device), self.t_B.to(device), self.wanted_BCHW.to(device), mask)

    def repeated(self, num: int) -> "Lesson":
        """One lesson as a batch of the same."""
        parts = (self.x_t_BCHW, self.t_B, self.wanted_BCHW)
        x_t, t, wanted = (part.expand(num, *part.shape[1:]) for part in parts)
        return Lesson(x_t, t, wanted, None if self.mask_B1HW is None else self.mask_B1HW.expand(num, -1, -1, -1))

    def __add__(self, other: "Lesson") -> "Lesson":
        pairs = ((self.x_t_BCHW, other.x_t_BCHW), (self.t_B, other.t_B), (self.wanted_BCHW, other.wanted_BCHW))
        x_t, t, wanted = (torch.cat(pair) for pair in pairs)
        return Lesson(x_t, t, wanted, None if self.mask_B1HW is other.mask_B1HW is None else torch.cat([self.mask, other.mask]))

    @property
    def mask(self) -> Tensor:
        """(B, 1, H, W), ones where there is none."""
        return torch.ones_like(self.wanted_BCHW[:, :1]) if self.mask_B1HW is None else self.mask_B1HW


@dataclass(frozen=True)
class Objective:
    """A family declares one as data, from the checkpoint's scheduler; training asks for lessons and their losses."""

    process: NoiseProcess
    prediction: Prediction
    time: TimeSampler = field(default_factory=UniformSteps)
    weighting: Weighting = even

    def weighted_by(self, weighting: Weighting) -> "Objective":
        return replace(self, weighting=weighting)

    def losses(self, network: Network, lesson: Lesson) -> Tensor:
        """Loss of each sample, (B,); what a sample is worth is the caller's business.

        With a mask it is the mean over what the mask lets count, so that a small region pulls as hard as a whole picture.
        """
        error = (network(lesson.x_t_BCHW, lesson.t_B).float() - lesson.wanted_BCHW.float()).square()
        weight = self.weighting(self.process, self.prediction, t=lesson.t_B)
        if lesson.mask_B1HW is None:
            return weight * error.flatten(1).mean(1)
        counted = lesson.mask_B1HW.float().flatten(1).sum(1) * error.shape[1]
        return weight * (error * lesson.mask_B1HW).flatten(1).sum(1) / counted.clamp(min=1e-6)

    def lesson(self, x_0: Tensor, *, random: SampleRandom) -> Lesson:
        """Denoise x_0 at a time and from a noise of this step's own."""
        t = self.time(random.uniform("time")).to(x_0.device)
        return self.lesson_at(x_0, eps=random.normal("noise", x_0.shape[1:]).to(x_0), t=t)

    def lesson_at(self, x_0: Tensor, *, eps: Tensor, t: Tensor) -> Lesson:
        """The same at given noise and times: what validation compares from step to step."""
        return Lesson(perturb(self.process, x_0, eps=eps, t=t), t, target(self.process, self.prediction, x_0=x_0, eps=eps, t=t))
