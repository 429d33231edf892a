"""How much each noise level counts. SNR = (alpha / sigma)^2; a weight on the error in x_0 becomes one on that of the output."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from aquatint.core.process import NoiseProcess, Prediction, output_weight


class Weighting(Protocol):
    """-> weight of each sample, (B,)."""

    def __call__(self, process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor: ...


WeightingKind = Literal["even", "min_snr", "soft_min_snr", "debiased", "bell"]
OF_SNR = ("min_snr", "soft_min_snr", "debiased")
"""Made for processes that keep the variance; on straight lines the plain error of the velocity is already weighted."""


def even(process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
    """Plain mean squared error of the network's output."""
    return torch.ones_like(t)


@dataclass(frozen=True)
class MinSNR:
    """Cap the weight of easy noise levels (Hang et al. 2023): min(SNR, gamma) on the error in x_0."""

    gamma: float = 5.0

    def __call__(self, process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
        return _snr(process, t).clamp(max=self.gamma) * output_weight(process, prediction, t=t)


@dataclass(frozen=True)
class SoftMinSNR:
    """The same without a corner (Crowson et al. 2024, section 3.3): SNR gamma / (SNR + gamma) on the error in x_0."""

    gamma: float = 5.0

    def __call__(self, process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
        snr = _snr(process, t)
        return snr * self.gamma / (snr + self.gamma) * output_weight(process, prediction, t=t)


def debiased(process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
    """More for noisy levels (Yu et al. 2023, eq. 11): 1 / sqrt(SNR) on the error in the noise, so sqrt(SNR) on that in x_0."""
    return _snr(process, t).sqrt() * output_weight(process, prediction, t=t)


def bell(process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
    """The density of logit-normal times (Esser et al. 2024, eq. 19) as a weight: with uniform times the same in the mean."""
    t = t.clamp(1e-6, 1 - 1e-6)
    return torch.exp(-(torch.logit(t) ** 2) / 2) / (math.sqrt(2 * math.pi) * t * (1 - t))


def weighting_of(kind: WeightingKind, gamma: float) -> Weighting:
    """`gamma` is that of the two that have one."""
    kinds: dict[str, Weighting] = {
        "even": even, "min_snr": MinSNR(gamma), "soft_min_snr": SoftMinSNR(gamma), "debiased": debiased, "bell": bell,
    }  # fmt: skip
    return kinds[kind]


def _snr(process: NoiseProcess, t: Tensor) -> Tensor:
    return (process.alpha(t) / process.sigma(t)) ** 2
