"""How far a set of pictures is from another: Kernel Inception Distance, on any features.

Bińkowski et al. (2018), "Demystifying MMD GANs": the squared maximum mean discrepancy with the kernel (x·y / d + 1)³, estimated
without bias, so that it is 0 on average for two sets drawn alike, and may be below. N and M are numbers of pictures, D of features.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
LEAST = 8
"""Pictures in a set; of fewer a resample may hold no pair of different ones."""


def kid(
    features_ND: ArrayLike, reference_MD: ArrayLike, *, num_resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The distance with its percentile bootstrap interval: (low, distance, high), as `statistics.bootstrap` gives a mean's.

    Both sets are resampled. A picture that is drawn twice is never paired with itself, so the resampled distances lie around the
    distance and not above it. For sets drawn alike the interval is wider than it need be. Raises ValueError for fewer than eight
    pictures in a set, unlike widths, numbers that are not finite, or a bad level or count.
    """
    x, y = (np.asarray(each, dtype=np.float64) for each in (features_ND, reference_MD))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < LEAST:
        raise ValueError(f"features of shapes {x.shape} and {y.shape}; two sets of {LEAST} or more rows of equal length are needed")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("some features are not finite")
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(f"level={level}, num_resamples={num_resamples}; the level lies between 0 and 1, and one resample is the least")
    random = np.random.default_rng(seed)
    kernels = _off_diagonal(_kernel(x, x)), _off_diagonal(_kernel(y, y)), _kernel(x, y)
    counts = tuple(_counts(len(each), num_resamples, random=random) for each in (x, y))
    low, high = np.quantile(_distances(kernels, counts), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(_distances(kernels, (np.ones((1, len(x))), np.ones((1, len(y)))))[0]), float(high)


def _kernel(x: Matrix, y: Matrix) -> Matrix:
    kernel: Matrix = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _off_diagonal(kernel: Matrix) -> Matrix:
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _counts(num: int, num_resamples: int, *, random: np.random.Generator) -> Matrix:
    """(num_resamples, num): how often each is in a sample of as many, drawn with replacement."""
    return random.multinomial(num, np.full(num, 1 / num), num_resamples).astype(np.float64)


def _distances(kernels: tuple[Matrix, Matrix, Matrix], counts: tuple[Matrix, ...]) -> Matrix:
    """(num_resamples,), one for each row of the counts of x and y."""
    (among_x, among_y, between), (counts_x, counts_y) = kernels, counts
    across: Matrix = ((counts_x @ between) * counts_y).sum(1) / (counts_x.sum(1) * counts_y.sum(1))
    return _mean_of_pairs(among_x, counts_x) + _mean_of_pairs(among_y, counts_y) - 2 * across


def _mean_of_pairs(kernel: Matrix, counts: Matrix) -> Matrix:
    num = counts.sum(1) ** 2 - (counts**2).sum(1)
    mean: Matrix = ((counts @ kernel) * counts).sum(1) / np.maximum(num, 1)
    return mean
