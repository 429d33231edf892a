"""The training objective: which noise level, which target, how much it counts. One formula for every family."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from aquatint.core.distances import Distance
from aquatint.core.process import NoiseProcess, Prediction, perturb, target
from aquatint.core.randomness import SampleRandom
from aquatint.core.times import TimeSampler, UniformSteps
from aquatint.core.weightings import Weighting, even

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) -> the network's raw output."""


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
    distance: Distance = torch.square
    noise_offset: float = 0.0
    """Standard deviation of what is added to all of a channel's noise (Guttenberg 2023), while training alone."""

    def weighted_by(self, weighting: Weighting) -> "Objective":
        return replace(self, weighting=weighting)

    def losses(self, network: Network, lesson: Lesson) -> Tensor:
        """Loss of each sample, (B,); what a sample is worth is the caller's business.

        With a mask it is the mean over what the mask lets count, so that a small region pulls as hard as a whole picture.
        """
        error = self.distance(network(lesson.x_t_BCHW, lesson.t_B).float() - lesson.wanted_BCHW.float())
        weight = self.weighting(self.process, self.prediction, t=lesson.t_B)
        if lesson.mask_B1HW is None:
            return weight * error.flatten(1).mean(1)
        counted = lesson.mask_B1HW.float().flatten(1).sum(1) * error.shape[1]
        return weight * (error * lesson.mask_B1HW).flatten(1).sum(1) / counted.clamp(min=1e-6)

    def lesson(self, x_0: Tensor, *, random: SampleRandom) -> Lesson:
        """Denoise x_0 at a time and from a noise of this step's own."""
        t, eps = self.time(random.uniform("time")).to(x_0.device), random.normal("noise", x_0.shape[1:])
        if self.noise_offset:
            eps = eps + self.noise_offset * random.normal("noise offset", (x_0.shape[1], 1, 1))
        return self.lesson_at(x_0, eps=eps.to(x_0), t=t)

    def lesson_at(self, x_0: Tensor, *, eps: Tensor, t: Tensor) -> Lesson:
        """The same at given noise and times: what validation compares from step to step."""
        return Lesson(perturb(self.process, x_0, eps=eps, t=t), t, target(self.process, self.prediction, x_0=x_0, eps=eps, t=t))
