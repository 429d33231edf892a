"""How far a mean can be trusted."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DRAWN_AT_ONCE = 1_000_000


def bootstrap(values: Sequence[float], *, num_resamples: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Mean of independent values with its percentile bootstrap interval: (low, mean, high), in the unit of the values.

    Efron (1979), "Bootstrap methods: another look at the jackknife". `level` is the share of the resampled means that
    the interval holds, half of the rest on each side. Equal arguments give equal numbers. The interval of one value, or
    of equal ones, has no width. Raises ValueError for no values, values that are not finite, or a bad level or count.
    """
    if not len(values) or not all(math.isfinite(value) for value in values):
        raise ValueError(f"{len(values)} values; a mean needs at least one, and all of them finite")
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(f"level={level}, num_resamples={num_resamples}; the level lies between 0 and 1, and one resample is the least")
    first = float(values[0])
    offsets = np.asarray(values, dtype=np.float64) - first  # equal values come back exactly
    means = _resampled_means(offsets, num_resamples, random=np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return first + float(low), first + float(offsets.mean()), first + float(high)


def _resampled_means(values: NDArray[np.float64], num_resamples: int, *, random: np.random.Generator) -> NDArray[np.float64]:
    """(num_resamples,), drawn in parts to bound memory."""
    part = max(1, MAX_DRAWN_AT_ONCE // len(values))
    sizes = [min(part, num_resamples - start) for start in range(0, num_resamples, part)]
    return np.concatenate([values[random.integers(0, len(values), (size, len(values)))].mean(axis=1) for size in sizes])
