"""Noise processes: how data becomes noise, and in which of four ways a network may describe the way back.

    x_t = alpha(t) x_0 + sigma(t) eps,    t in [0, 1],    t = 0 is data, t = 1 is noise.

Everything else is algebra on the two functions. Shape suffixes: B batch, C channels, H height, W width, in the units
of the network (latents for a latent model, pixels for a pixel model).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Prediction = Literal["epsilon", "sample", "v_prediction", "flow_prediction"]

# A network outputs  a * eps + b * x_0 ;  each row is (a, b) as a function of (alpha, sigma).
_COEFFICIENTS: dict[Prediction, Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor | float]]] = {
    "epsilon": lambda alpha, sigma: (1.0, 0.0),  # Ho et al. 2020, eq. 14
    "sample": lambda alpha, sigma: (0.0, 1.0),
    "v_prediction": lambda alpha, sigma: (alpha, -sigma),  # Salimans & Ho 2022, appendix D
    "flow_prediction": lambda alpha, sigma: (1.0, -1.0),  # Liu et al. 2022; Esser et al. 2024, eq. 2
}
PREDICTIONS: tuple[Prediction, ...] = tuple(_COEFFICIENTS)

LEAST_LEFT = 1e-6
"""Of alpha^2; some schedulers write 2^-24 for zero."""
NUM_FLOW_STEPS = 1000
"""Diffusers' name for pure noise on straight lines."""
OFF_GRID = 1e-3
"""Of a training step: nearer to one than that, t is that step."""


class NoiseProcess(Protocol):
    """The two functions of time that define a process; both map (B,) to (B,)."""

    def alpha(self, t: Tensor) -> Tensor: ...
    def sigma(self, t: Tensor) -> Tensor: ...
    def time(self, timestep: Tensor) -> Tensor:
        """What diffusers' schedulers call a noise level -> t."""


@dataclass(frozen=True)
class RectifiedFlow:
    """Straight lines from data to noise (Liu et al. 2022): SD3 and FLUX."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, timestep: Tensor) -> Tensor:
        return timestep / NUM_FLOW_STEPS


@dataclass(frozen=True)
class VariancePreserving:
    """alpha^2 + sigma^2 = 1 on a grid of discrete steps (Ho et al. 2020): DDPM, SD 1 and 2, SDXL."""

    alphas_cumprod: Tensor
    """(T,), falling: alpha^2 at each training step."""

    @property
    def num_steps(self) -> int:
        return len(self.alphas_cumprod)

    def index(self, t: Tensor) -> Tensor:
        """Place in the training grid as a float, -1 for clean data; t = (index + 1) / num_steps. Samplers ask between its points too."""
        place = t * self.num_steps
        nearest = place.round()
        return torch.where((place - nearest).abs() < OFF_GRID, nearest, place) - 1

    @property
    def ends_in_noise(self) -> bool:
        """Whether nothing of the picture is left at the last step."""
        return float(self.alphas_cumprod[-1]) < LEAST_LEFT

    def ending_in_noise(self) -> "VariancePreserving":
        """The same grid with zero terminal SNR: alpha is 0 at its end, and begins as before (Lin et al. 2023, alg. 1)."""
        alpha = self.alphas_cumprod.double().sqrt()
        rescaled = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        return VariancePreserving(rescaled.square().to(self.alphas_cumprod))

    def alpha(self, t: Tensor) -> Tensor:
        return self._alpha_squared(t).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return (1.0 - self._alpha_squared(t)).sqrt()  # not from alpha: squaring it again costs three digits near the data

    def time(self, timestep: Tensor) -> Tensor:
        return (timestep + 1) / self.num_steps

    def _alpha_squared(self, t: Tensor) -> Tensor:
        """Between two points of the grid log(alpha / sigma) is a straight line, as in diffusers' samplers."""
        table = torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod]).to(t.device)
        place = self.index(t) + 1
        below = place.floor().long()
        left, right, way = table[below], table[(below + 1).clamp(max=self.num_steps)], (place - below).to(table)
        between = torch.where(below > 0, torch.sigmoid(torch.lerp(left.logit(), right.logit(), way)), torch.lerp(left, right, way))
        return torch.where(way > 0, between, left)


def expand(per_sample_B: Tensor, like_BCHW: Tensor) -> Tensor:
    """View (B,) as (B, 1, 1, 1) so that it multiplies images."""
    return per_sample_B.view(-1, *[1] * (like_BCHW.ndim - 1)).to(like_BCHW)


def perturb(process: NoiseProcess, x_0: Tensor, *, eps: Tensor, t: Tensor) -> Tensor:
    """x_t: clean samples noised to time t."""
    return expand(process.alpha(t), x_0) * x_0 + expand(process.sigma(t), x_0) * eps


def target(process: NoiseProcess, prediction: Prediction, *, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """What the network should output at time t."""
    a, b = _COEFFICIENTS[prediction](expand(process.alpha(t), x_0), expand(process.sigma(t), x_0))
    return a * eps + b * x_0


def to_x_0(process: NoiseProcess, prediction: Prediction, *, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """The clean sample that a network output implies: the 2 x 2 system of x_t and output, solved for x_0."""
    alpha, sigma = expand(process.alpha(t), x_t), expand(process.sigma(t), x_t)
    a, b = _COEFFICIENTS[prediction](alpha, sigma)
    return (a * x_t - sigma * output) / (a * alpha - b * sigma)


def to_output(process: NoiseProcess, prediction: Prediction, *, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Back: the network output that implies this clean sample. Needs t > 0."""
    a, b = _COEFFICIENTS[prediction](expand(process.alpha(t), x_t), expand(process.sigma(t), x_t))
    return a * to_eps(process, x_0=x_0, x_t=x_t, t=t) + b * x_0


def to_eps(process: NoiseProcess, *, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """The noise that lies between a clean sample and x_t. Needs t > 0."""
    return (x_t - expand(process.alpha(t), x_t) * x_0) / expand(process.sigma(t), x_t)


def spread(process: NoiseProcess, t: Tensor) -> Tensor:
    """(B,): standard deviation of x_0 when x_t is known, for data of unit variance: sigma / sqrt(alpha^2 + sigma^2)."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    return sigma / (alpha.square() + sigma.square()).sqrt()


def output_weight(process: NoiseProcess, prediction: Prediction, *, t: Tensor) -> Tensor:
    """(B,): turns a weight on the squared error in x_0 into one on the squared error of the output."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    a, b = _COEFFICIENTS[prediction](alpha, sigma)
    return (sigma / (a * alpha - b * sigma)) ** 2
