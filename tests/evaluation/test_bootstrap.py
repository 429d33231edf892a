"""The bootstrap against intervals known in closed form."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from aquatint.evaluation.statistics import bootstrap


def binomial_quantile(num: int, share: float, *, level: float) -> int:
    total = 0.0
    for successes in range(num + 1):
        total += math.comb(num, successes) * share**successes * (1 - share) ** (num - successes)
        if total >= level:
            return successes
    raise AssertionError


def test_ones_and_zeros_give_the_binomial_interval() -> None:
    """The resampled count of ones is binomial exactly."""
    low, mean, high = bootstrap([1.0] * 30 + [0.0] * 70, num_resamples=20_000)
    assert mean == pytest.approx(0.3)
    assert abs(low * 100 - binomial_quantile(100, 0.3, level=0.025)) <= 1
    assert abs(high * 100 - binomial_quantile(100, 0.3, level=0.975)) <= 1


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_many_values_give_the_normal_interval(level: float) -> None:
    values = np.random.default_rng(1).exponential(3.0, 3000)
    low, mean, high = bootstrap(values.tolist(), num_resamples=8000, level=level)
    half = NormalDist().inv_cdf((1 + level) / 2) * values.std() / math.sqrt(len(values))
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert low == pytest.approx(mean - half, abs=0.08 * half)
    assert high == pytest.approx(mean + half, abs=0.08 * half)


def test_holds_the_true_mean_as_often_as_it_says() -> None:
    random, num_runs = np.random.default_rng(2), 300
    intervals = [bootstrap(random.normal(5.0, 1.0, 60).tolist(), num_resamples=500) for _ in range(num_runs)]
    share = sum(low <= 5.0 <= high for low, _, high in intervals) / num_runs
    assert 0.89 <= share <= 0.985


def test_equal_values_have_no_width() -> None:
    assert bootstrap([0.1] * 3) == (0.1, 0.1, 0.1)
    assert bootstrap([7.25]) == (7.25, 7.25, 7.25)


def test_the_seed_decides() -> None:
    values = [0.0, 1.0, 5.0, 9.0, 2.0]
    assert bootstrap(values) == bootstrap(values)
    assert len({bootstrap(values, num_resamples=30, seed=seed) for seed in range(4)}) > 1


def test_many_values_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=50).tolist()
    whole = bootstrap(values)
    monkeypatch.setattr("aquatint.evaluation.statistics.MAX_DRAWN_AT_ONCE", 700)
    assert bootstrap(values) == whole


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_no_mean_without_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap(values)


@pytest.mark.parametrize("options", [{"level": 0.0}, {"level": 1.0}, {"num_resamples": 0}])
def test_refuses_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="level"):
        bootstrap([1.0], **options)
