"""Data whose denoiser is known: a Gaussian, and a bundle of the stock scheduler and its closed form, as `generation.sampling` takes it."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from aquatint.core.family import Bundle, Conditioning, Conditions, Encoded
from aquatint.core.objective import Objective
from aquatint.core.process import Prediction, RectifiedFlow, VariancePreserving, to_output
from aquatint.core.request import Request
from aquatint.generation.sampling import walk

SETTINGS: tuple[tuple[str, Prediction], ...] = (
    ("vp", "epsilon"), ("vp", "sample"), ("vp", "v_prediction"), ("flow", "flow_prediction"),
)  # fmt: skip
"""Both processes, and every prediction that stock schedulers draw with."""


@dataclass(frozen=True)
class Gaussian:
    """N(mean, covariance) of pictures (C, H, W), in float64."""

    mean_D: Tensor
    covariance_DD: Tensor
    shape: tuple[int, int, int] = (3, 2, 2)

    def expected(self, x_t: Tensor, *, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x_0 | x_t]: the Kalman gain."""
        flat = x_t.double().flatten(1)
        gain = alpha * self.covariance_DD @ torch.linalg.inv(alpha**2 * self.covariance_DD + sigma**2 * torch.eye(len(self.mean_D)))
        return (self.mean_D + (flat - alpha * self.mean_D) @ gain.T).view_as(x_t)

    def given(self, operator_MD: Tensor, y_M: Tensor, *, noise_std: float) -> "Gaussian":
        """The posterior when y = A x + noise was measured."""
        cross = self.covariance_DD @ operator_MD.T
        gain = cross @ torch.linalg.inv(operator_MD @ cross + noise_std**2 * torch.eye(len(y_M)).double())
        return Gaussian(self.mean_D + gain @ (y_M - operator_MD @ self.mean_D), self.covariance_DD - gain @ cross.T, self.shape)


class ClosedForm(nn.Module):
    """The best possible network for Gaussian data."""

    def __init__(self, data: Gaussian, objective: Objective):
        super().__init__()
        self.data, self.objective, self.config = data, objective, SimpleNamespace(in_channels=data.shape[0])
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        process = self.objective.process
        alpha, sigma = (f(t[:1].double())[0] for f in (process.alpha, process.sigma))
        x_0 = self.data.expected(x_t, alpha=alpha, sigma=sigma)
        return to_output(process, self.objective.prediction, x_0=x_0, x_t=x_t, t=t)


def bundle(data: Gaussian, *, process: str, prediction: Prediction) -> Bundle:
    """Deterministic stock schedulers; pictures are their own latents."""
    if process == "flow":
        scheduler: Any = FlowMatchEulerDiscreteScheduler()
        objective = Objective(RectifiedFlow(), prediction)
    else:
        scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")
        objective = Objective(VariancePreserving(scheduler.alphas_cumprod), prediction)
    denoiser = ClosedForm(data, objective)
    family: Any = SimpleNamespace(
        conditions=lambda bundle, requests: Conditions(Conditioning()),
        set_steps=lambda bundle, num_steps, *, shape: scheduler.set_timesteps(num_steps),
        network=lambda bundle, conditioning: denoiser,
        decode_latents=lambda bundle, latents: latents,
        encode_images=lambda bundle, pixels: Encoded(pixels, torch.zeros_like(pixels)),
    )
    return Bundle(
        family=family, pipeline=SimpleNamespace(scheduler=scheduler), denoiser=denoiser, objective=objective, resolution_px=data.shape[1],
        width=1, told="nothing",
    )  # fmt: skip


def sampled(made: Bundle, *guidances: Any, num: int = 2000, num_steps: int = 200) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of `num` pictures."""
    *_, last = walk(made, [Request("", seed, num_steps=num_steps) for seed in range(num)], guidances=guidances)
    flat = last.x_0_BCHW.double().flatten(1)
    return flat.mean(0), torch.cov(flat.T)


def example(num: int = 12, *, seed: int = 0) -> Gaussian:
    """Correlated, and not of unit variance."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(num, num, generator=generator, dtype=torch.float64) / num**0.5
    covariance = 0.5 * root @ root.T + 0.1 * torch.eye(num)
    return Gaussian(torch.randn(num, generator=generator, dtype=torch.float64) * 0.3, covariance)


