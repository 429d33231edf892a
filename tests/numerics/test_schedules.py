"""Learning rates against their closed forms (R37)."""

import math

import pytest

from aquatint.training.schedules import SCHEDULES


def test_there_are_four_names():
    assert sorted(SCHEDULES) == ["constant", "constant_with_warmup", "cosine", "linear"]


@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "constant_with_warmup"])
def test_the_rise_is_linear_and_starts_above_zero(name):
    schedule = SCHEDULES[name](num_steps=50, warmup_steps=9)
    assert [schedule(step) for step in range(9)] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert schedule(9) == pytest.approx(1.0)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_falls_as_a_cosine(final):
    schedule = SCHEDULES["cosine"](num_steps=110, warmup_steps=10, final=final)
    for step in range(10, 111):
        expected = final + (1 - final) * math.cos(math.pi * (step - 10) / 200) ** 2  # half-angle form
        assert schedule(step) == pytest.approx(expected, abs=1e-12)
    assert schedule(500) == pytest.approx(final, abs=1e-12)


def test_linear_falls_by_the_same_amount_every_step():
    schedule = SCHEDULES["linear"](num_steps=30, warmup_steps=10, final=0.2)
    assert [schedule(step) for step in (10, 15, 20, 30, 99)] == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2])


def test_constant_stays():
    schedule = SCHEDULES["constant"](num_steps=30)
    assert {schedule(step) for step in range(100)} == {1.0}


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_every_rate_is_a_share_of_the_peak_and_none_in_the_run_is_zero(name):
    for num_steps, warmup_steps in ((1, 0), (1, 5), (5, 5), (100, 0)):
        schedule = SCHEDULES[name](num_steps=num_steps, warmup_steps=warmup_steps)
        assert all(0 < schedule(step) <= 1 for step in range(num_steps))
