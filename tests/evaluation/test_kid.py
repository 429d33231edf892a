"""The kernel distance against loops written by hand, and against its value in closed form."""

import numpy as np
import pytest
from PIL import Image

from aquatint.evaluation.kid import kid
from aquatint.evaluation.world import embedded

MU_X, MU_Y = np.array([0.3, -0.2, 0.5, 0.1]), np.array([-0.1, 0.4, 0.2, 0.6])
SPREAD_X, SPREAD_Y = 1.0, 1.5


def by_hand(x, y):
    """Bińkowski et al. 2018, equation 4."""

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m, total = len(x), len(y), 0.0
    for i in range(n):
        for j in range(n):
            total += kernel(x[i], x[j]) / (n * (n - 1)) if i != j else 0.0
    for i in range(m):
        for j in range(m):
            total += kernel(y[i], y[j]) / (m * (m - 1)) if i != j else 0.0
    for i in range(n):
        for j in range(m):
            total -= 2 * kernel(x[i], y[j]) / (n * m)
    return total


def moments(mu, spread):
    """E[x], E[x x], E[x x x] of N(mu, spread² I)."""
    one, second = np.eye(len(mu)), np.multiply.outer(mu, mu) + spread**2 * np.eye(len(mu))
    mixed = np.einsum("i,jk->ijk", mu, one) + np.einsum("j,ik->ijk", mu, one) + np.einsum("k,ij->ijk", mu, one)
    return mu, second, np.einsum("i,j,k->ijk", mu, mu, mu) + spread**2 * mixed


def expected_kernel(p, q):
    """E (x·y / d + 1)³ for independent x and y, from their moments."""
    u1, u2, u3 = ((a * b).sum() / len(p[0]) ** power for power, (a, b) in enumerate(zip(p, q, strict=True), 1))
    return u3 + 3 * u2 + 3 * u1 + 1


def true_distance():
    p, q = moments(MU_X, SPREAD_X), moments(MU_Y, SPREAD_Y)
    return expected_kernel(p, p) + expected_kernel(q, q) - 2 * expected_kernel(p, q)


def drawn(random, num, *, mu=MU_X, spread=SPREAD_X):
    return random.normal(mu, spread, (num, len(mu)))


def test_it_is_the_double_loop():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(9, 3)), random.normal(0.5, 2, size=(13, 3))
    assert kid(x, y, num_resamples=1)[1] == pytest.approx(by_hand(x, y), rel=1e-12)


def test_a_resample_pairs_no_picture_with_itself():
    """With one resample its low and high end are that resample's distance."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(10, 3)), random.normal(size=(8, 3))
    low, _, high = kid(x, y, num_resamples=1, seed=5)
    same = np.random.default_rng(5)
    own, other = (np.repeat(np.arange(num), same.multinomial(num, np.full(num, 1 / num))) for num in (10, 8))

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    def mean(rows, indices):
        pairs = [kernel(rows[i], rows[j]) for i in indices for j in indices if i != j]
        return sum(pairs) / len(pairs)

    between = np.mean([kernel(x[i], y[j]) for i in own for j in other])
    assert low == high == pytest.approx(mean(x, own) + mean(y, other) - 2 * between, rel=1e-12)


def test_many_give_the_distance_in_closed_form():
    random = np.random.default_rng(2)
    found = [kid(drawn(random, 400), drawn(random, 300, mu=MU_Y, spread=SPREAD_Y), num_resamples=1)[1] for _ in range(60)]
    error = np.std(found) / len(found) ** 0.5
    assert np.mean(found) == pytest.approx(true_distance(), abs=3 * error)
    assert error < 0.05 * true_distance()


def test_few_alike_are_at_no_distance_on_average():
    """Without bias at any number of pictures; a tenth of the spread would be seen."""
    random = np.random.default_rng(3)
    found = [kid(drawn(random, 8), drawn(random, 12), num_resamples=1)[1] for _ in range(1500)]
    assert np.mean(found) == pytest.approx(0, abs=3 * np.std(found) / len(found) ** 0.5)
    assert min(found) < 0


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_holds_the_truth_as_often_as_it_says(level):
    random, truth, num_runs, held = np.random.default_rng(4), true_distance(), 250, 0
    for _ in range(num_runs):
        x, y = drawn(random, 100), drawn(random, 100, mu=MU_Y, spread=SPREAD_Y)
        low, _, high = kid(x, y, num_resamples=200, level=level)
        held += low <= truth <= high
    assert held / num_runs == pytest.approx(level, abs=3.5 * (level * (1 - level) / num_runs) ** 0.5 + 0.02)


def test_the_seed_decides():
    random = np.random.default_rng(5)
    x, y = drawn(random, 30), drawn(random, 20)
    assert kid(x, y) == kid(x, y)
    assert kid(x, y)[1] == kid(x, y, seed=1)[1]
    assert kid(x, y)[0] != kid(x, y, seed=1)[0]


@pytest.mark.parametrize(
    ("x", "y"), [(np.zeros((7, 2)), np.zeros((9, 2))), (np.zeros((9, 2)), np.zeros((9, 3))), (np.full((9, 2), np.nan), np.zeros((9, 2)))]
)
def test_no_distance_of_what_has_none(x, y):
    with pytest.raises(ValueError, match="features"):
        kid(x, y)


@pytest.mark.parametrize("options", [{"level": 0.0}, {"level": 1.0}, {"num_resamples": 0}])
def test_refuses_impossible_options(options):
    with pytest.raises(ValueError, match="level"):
        kid(np.eye(8), np.eye(8), **options)


def test_clip_features_are_its_cosines():
    clip = embedded().clip
    random = np.random.default_rng(6)
    pictures = [Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(3)]
    features = clip.features(pictures)
    cosines = features @ features.T / features.shape[1]
    assert cosines.diagonal().tolist() == pytest.approx([1.0] * 3)
    assert clip.to_pictures(pictures, pictures[:1]) == pytest.approx(cosines[:, 0].tolist())
