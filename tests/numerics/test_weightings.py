"""Weights of noise levels and costs of errors against diffusers, torch and closed forms."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch.nn.functional import huber_loss, smooth_l1_loss

from aquatint.core.distances import distance_of
from aquatint.core.process import PREDICTIONS, RectifiedFlow, VariancePreserving, output_weight, perturb, to_x_0
from aquatint.core.times import LogitNormal
from aquatint.core.weightings import SoftMinSNR, bell, debiased

SCHEDULER = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
PROCESS = VariancePreserving(SCHEDULER.alphas_cumprod.double())
INDICES = torch.tensor([1, 40, 250, 500, 800, 999])
T = ((INDICES + 1) / 1000).double()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_debiased_is_one_over_the_root_of_snr_on_the_error_of_the_noise(prediction):
    generator = torch.Generator().manual_seed(3)
    x_0, eps, output = (torch.randn(len(T), 4, 6, 5, generator=generator).double() for _ in range(3))
    x_t = perturb(PROCESS, x_0, eps=eps, t=T)
    alpha, sigma = (part(T).view(-1, 1, 1, 1) for part in (PROCESS.alpha, PROCESS.sigma))

    def noise(output):
        return (x_t - alpha * to_x_0(PROCESS, prediction, output=output, x_t=x_t, t=T)) / sigma

    apart = (noise(output + 0.3) - noise(output)).square().flatten(1).mean(1)
    expected = apart / compute_snr(SCHEDULER, INDICES).double().sqrt()
    torch.testing.assert_close(debiased(PROCESS, prediction, t=T) * 0.3**2, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_soft_min_snr_is_the_harmonic_sum_of_snr_and_cap(prediction):
    expected = 1 / (1 / compute_snr(SCHEDULER, INDICES).double() + 1 / 5.0) * output_weight(PROCESS, prediction, t=T)
    torch.testing.assert_close(SoftMinSNR(5.0)(PROCESS, prediction, t=T), expected, rtol=1e-4, atol=0)


def test_the_bell_is_the_density_of_logit_normal_times():
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    for moment in (0, 1, 2, 3):
        weighted = (bell(RectifiedFlow(), "flow_prediction", t=u) * u**moment).mean()
        torch.testing.assert_close(weighted, (LogitNormal()(u) ** moment).mean(), rtol=1e-3, atol=0)
    ends = bell(RectifiedFlow(), "flow_prediction", t=torch.tensor([0.0, 1.0]))
    assert torch.isfinite(ends).all()
    assert ends.max() < 1e-6


@pytest.mark.parametrize("delta", [0.05, 0.1, 1.0])
def test_distances_are_those_of_torch(delta):
    error = torch.linspace(-2, 2, 801)
    zero = torch.zeros_like(error)
    huber = 2 * huber_loss(error, zero, delta=delta, reduction="none")  # so that small errors cost their square
    torch.testing.assert_close(distance_of("huber", delta)(error), huber)
    torch.testing.assert_close(distance_of("smooth_l1", delta)(error), smooth_l1_loss(error, zero, beta=delta, reduction="none"))
    assert torch.equal(distance_of("mse", delta)(error), error.square())


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear", "squaredcos_cap_v2"])
def test_zero_terminal_snr_is_that_of_diffusers(schedule):
    how = {"beta_schedule": schedule, "beta_start": 0.00085, "beta_end": 0.012}
    rescaled = VariancePreserving(DDPMScheduler(**how).alphas_cumprod).ending_in_noise()
    torch.testing.assert_close(
        rescaled.alphas_cumprod, DDPMScheduler(**how, rescale_betas_zero_snr=True).alphas_cumprod, rtol=1e-3, atol=1e-6
    )
    assert rescaled.alphas_cumprod[-1] == 0
    assert rescaled.ends_in_noise
    assert VariancePreserving(DDPMScheduler(**how).alphas_cumprod).ends_in_noise == (schedule == "squaredcos_cap_v2")
