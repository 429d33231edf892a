"""The noise processes against diffusers' schedulers and against algebra."""

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_snr

from aquatint.core.process import PREDICTIONS, RectifiedFlow, VariancePreserving, output_weight, perturb, target, to_x_0
from aquatint.core.weightings import MinSNR

INDICES = torch.tensor([0, 1, 7, 250, 500, 998, 999])
TIMES = (INDICES + 1) / 1000
SHAPE = (len(INDICES), 4, 6, 5)


@pytest.fixture(params=["scaled_linear", "linear", "squaredcos_cap_v2"])
def scheduler(request) -> DDPMScheduler:
    return DDPMScheduler(beta_schedule=request.param, beta_start=0.00085, beta_end=0.012)


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def test_noising_is_diffusers_add_noise(scheduler, samples):
    x_0, eps = samples
    ours = perturb(VariancePreserving(scheduler.alphas_cumprod), x_0, eps=eps, t=TIMES)
    torch.testing.assert_close(ours, scheduler.add_noise(x_0, eps, INDICES), rtol=1e-6, atol=1e-6)


def test_velocity_is_diffusers_get_velocity(scheduler, samples):
    x_0, eps = samples
    ours = target(VariancePreserving(scheduler.alphas_cumprod), "v_prediction", x_0=x_0, eps=eps, t=TIMES)
    torch.testing.assert_close(ours, scheduler.get_velocity(x_0, eps, INDICES), rtol=1e-6, atol=1e-6)


def test_flow_noising_is_diffusers_scale_noise(samples):
    x_0, eps = samples
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    ours = perturb(RectifiedFlow(), x_0, eps=eps, t=TIMES)
    torch.testing.assert_close(ours, scheduler.scale_noise(x_0, TIMES * 1000, eps), rtol=1e-5, atol=1e-5)


def test_sigma_keeps_its_digits_near_the_data(scheduler):
    exact = (1 - scheduler.alphas_cumprod[INDICES].double()).sqrt()
    ours = VariancePreserving(scheduler.alphas_cumprod).sigma(TIMES).double()
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=0)


def test_time_names_every_training_step_and_clean_data():
    process = VariancePreserving(DDPMScheduler().alphas_cumprod)
    everything = torch.arange(1000)
    assert torch.equal(process.index((everything + 1) / 1000), everything)
    assert process.num_steps == 1000
    clean = torch.zeros(1)
    assert (process.index(clean).item(), process.alpha(clean).item(), process.sigma(clean).item()) == (-1, 1.0, 0.0)


@pytest.mark.parametrize("process", [VariancePreserving(DDPMScheduler().alphas_cumprod), RectifiedFlow()], ids=["vp", "flow"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_gives_the_clean_sample_back(process, prediction, samples):
    x_0, eps = (s.double() for s in samples)
    t = TIMES.double().clamp(max=0.97)
    output = target(process, prediction, x_0=x_0, eps=eps, t=t)
    back = to_x_0(process, prediction, output=output, x_t=perturb(process, x_0, eps=eps, t=t), t=t)
    torch.testing.assert_close(back, x_0, rtol=1e-5, atol=1e-5)


def test_there_are_four_predictions():
    assert PREDICTIONS == ("epsilon", "sample", "v_prediction", "flow_prediction")


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_output_weight_turns_one_error_into_the_other(prediction, samples):
    """Two outputs apart by d: their clean samples are apart by sqrt(output_weight) * d."""
    process, t = VariancePreserving(DDPMScheduler().alphas_cumprod.double()), TIMES[:-2].double()
    x_t, output = (s[:-2].double() for s in samples)
    apart = to_x_0(process, prediction, output=output + 0.3, x_t=x_t, t=t) - to_x_0(process, prediction, output=output, x_t=x_t, t=t)
    expected = output_weight(process, prediction, t=t) * 0.3**2
    torch.testing.assert_close(apart.square().flatten(1).mean(1), expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_min_snr_is_the_weight_of_diffusers_training_scripts(scheduler, gamma, prediction):
    snr = compute_snr(scheduler, INDICES)
    expected = snr.clamp(max=gamma) / {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[prediction]
    ours = MinSNR(gamma)(VariancePreserving(scheduler.alphas_cumprod), prediction, t=TIMES)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=0)


def test_zero_terminal_snr_is_pure_noise_and_its_velocity_is_minus_the_data(samples):
    x_0, eps = samples
    process = VariancePreserving(DDPMScheduler(rescale_betas_zero_snr=True, beta_schedule="scaled_linear").alphas_cumprod)
    end = torch.ones(len(x_0))
    assert process.alpha(end).max() < 1e-3
    torch.testing.assert_close(perturb(process, x_0, eps=eps, t=end), eps, rtol=0, atol=1e-3)
    torch.testing.assert_close(target(process, "v_prediction", x_0=x_0, eps=eps, t=end), -x_0, rtol=0, atol=1e-2)
    assert torch.isfinite(MinSNR()(process, "v_prediction", t=end)).all()
