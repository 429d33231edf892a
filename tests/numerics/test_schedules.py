"""Learning rates against their closed forms and against those of diffusers' scripts (R37)."""

import math

import pytest
import torch
from diffusers.optimization import get_scheduler

from aquatint.training.schedules import schedule_of, warmup_cosine
from aquatint.training.settings import Optimizer

SETTINGS = [
    Optimizer(schedule="cosine"), Optimizer(schedule="linear"), Optimizer(schedule="constant"), Optimizer(schedule="constant_with_warmup"),
    Optimizer(schedule="polynomial"), Optimizer(schedule="polynomial", power=2.0), Optimizer(schedule="polynomial", power=0.5),
    Optimizer(schedule="cosine_with_restarts"), Optimizer(schedule="cosine_with_restarts", num_cycles=3),
]  # fmt: skip
each = pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.schedule}-{s.num_cycles}-{s.power}")


@each
@pytest.mark.parametrize("warmup", [0, 9])
def test_after_the_rise_it_is_the_schedule_of_diffusers(settings, warmup):
    """Theirs begins its rise at 0, where the first step would teach nothing, and ends polynomials at 1e-7."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_scheduler(
        settings.schedule, optimizer, num_warmup_steps=warmup, num_training_steps=50, num_cycles=settings.num_cycles or 1,
        power=settings.power or 1.0,
    )  # fmt: skip
    ours, rates = schedule_of(settings, num_steps=50, warmup_steps=warmup), []
    for _ in range(51):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    is_after = warmup if settings.schedule != "constant" else 9  # theirs has none of that name
    assert [ours(step) for step in range(is_after, 51)] == pytest.approx(rates[is_after:], abs=1e-6)
    assert len(rates) == 51


@each
def test_the_rise_is_linear_and_starts_above_zero(settings):
    schedule = schedule_of(settings, num_steps=50, warmup_steps=9)
    assert [schedule(step) for step in range(9)] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert schedule(9) == pytest.approx(1.0)


@each
def test_every_rate_is_a_share_of_the_peak_and_none_in_the_run_is_zero(settings):
    for num_steps, warmup_steps in ((1, 0), (1, 5), (5, 5), (100, 0)):
        schedule = schedule_of(settings, num_steps=num_steps, warmup_steps=warmup_steps)
        assert all(0 < schedule(step) <= 1 for step in range(num_steps))
        assert 0 <= schedule(10 * num_steps) <= 1


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_falls_as_a_cosine(final):
    schedule = warmup_cosine(num_steps=110, warmup_steps=10, final=final)
    for step in range(10, 111):
        expected = final + (1 - final) * math.cos(math.pi * (step - 10) / 200) ** 2  # half-angle form
        assert schedule(step) == pytest.approx(expected, abs=1e-12)
    assert schedule(500) == pytest.approx(final, abs=1e-12)
