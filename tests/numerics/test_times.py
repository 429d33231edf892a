"""Distributions of noise levels against diffusers and against their definitions."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3

from aquatint.core.times import TIMES, LogitNormal, Mode, OnGrid, Uniform, UniformSteps

U = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
ALL = [Uniform(), LogitNormal(), LogitNormal(0.5, 0.8), Mode(1.29), Mode(-1.0), Mode(1.75), TIMES["cosmap"]()]


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("scale", [1.29, 0.81, -0.5])
def test_mode_times_are_those_of_diffusers(scale):
    drawn = compute_density_for_timestep_sampling("mode", 500, mode_scale=scale, generator=seeded())
    u = torch.rand(500, generator=seeded())
    torch.testing.assert_close(Mode(scale)(1 - u), drawn, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.4, 0.7)])
def test_logit_normal_times_are_those_of_diffusers_turned_around(mean, std):
    """Its scripts take 1 - t for the noise level, so a mean above 0 is less noise there (Esser et al. mean more)."""
    drawn = compute_density_for_timestep_sampling("logit_normal", 20000, logit_mean=mean, logit_std=std, generator=seeded())
    ours = LogitNormal(-mean, std)(U)
    quantiles = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    torch.testing.assert_close(ours.quantile(quantiles), (1 - drawn.double()).quantile(quantiles), rtol=0.03, atol=0)


def test_cosmap_times_have_the_density_that_diffusers_weights_by():
    t = TIMES["cosmap"]()(U)
    torch.testing.assert_close(2 / math.pi * torch.atan(t / (1 - t)), U)
    middle = (t[1:] + t[:-1]) / 2
    torch.testing.assert_close((U[1:] - U[:-1]) / (t[1:] - t[:-1]), compute_loss_weighting_for_sd3("cosmap", middle), rtol=1e-4, atol=0)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_shift_is_that_of_the_flow_scheduler(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    t = torch.arange(1000, 0, -1) / 1000
    torch.testing.assert_close(Uniform(shift)(t), scheduler.timesteps / 1000)


@pytest.mark.parametrize("times", ALL, ids=str)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_rise_with_their_argument_and_stay_inside(times, shift):
    moved = type(times)(**{**vars(times), "shift": shift})
    t = moved(torch.cat([torch.zeros(1, dtype=torch.float64), U]))
    assert (t.diff() >= 0).all()
    assert ((t >= 0) & (t <= 1)).all()
    assert len(t.unique()) > 3000
    if shift > 1:
        assert (t[1:-1] > times(U)[:-1]).all()


@pytest.mark.parametrize("times", ALL, ids=str)
def test_on_a_grid_every_time_is_a_training_step(times):
    steps = OnGrid(times, 50)(U) * 50
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)
    assert 1 <= round(float(steps.min())) < round(float(steps.max())) <= 50
    assert (steps / 50 - times(U) > -1e-9).all()
    assert torch.equal(OnGrid(Uniform(), 50)(U), UniformSteps(50)(U))
