"""Wishes in units of likelihood, on Gaussian data: what is drawn must be the posterior, computed with matrices or by quadrature."""

import itertools
import sys

import numpy as np
import pytest
import torch
from numerics.gaussian import SETTINGS, Gaussian, bundle, example, sampled
from PIL import Image
from torch import Tensor

from aquatint.guidance.base import Guidance

NUM = 2000
NOISE = 0.2
"""Standard deviation with which a wish is measured."""
DATA = example()
PROJECTION = torch.linspace(-1, 1, 12, dtype=torch.float64) + torch.eye(12, dtype=torch.float64)[3]
USERS = """
import torch
from torch.nn.functional import softplus

W = torch.linspace(-1, 1, 12) + torch.eye(12)[3]
along = lambda pixels: pixels.flatten(1) @ W.to(pixels)
linear = lambda pixels: along(pixels)
better = lambda pixels: -along(pixels)
square = lambda pixels: (along(pixels) - 1) ** 2 / 2 / 0.2**2
logistic = lambda pixels: softplus(-4 * (along(pixels) - 1))
ring = lambda pixels: (pixels.flatten(1)[:, :2].norm(dim=1) - 1.5) ** 2 / 2 / 0.2**2
"""


@pytest.fixture
def _users_module(tmp_path, monkeypatch):
    (tmp_path / "users_losses.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("users_losses", None)


def agree(drawn: tuple[Tensor, Tensor], truth: Gaussian, *, steps: float = 0.01) -> None:
    """Within four standard errors of each entry, and what the steps' own error may be."""
    mean, covariance = drawn
    variance = truth.covariance_DD.diagonal()
    assert ((mean - truth.mean_D).abs() < 4 * (variance / NUM).sqrt() + steps).all()
    error = ((variance[:, None] * variance + truth.covariance_DD**2) / NUM).sqrt()
    assert ((covariance - truth.covariance_DD).abs() < 4.5 * error + steps).all()


def drawn(*wishes, process="vp", prediction="epsilon", data=DATA) -> tuple[Tensor, Tensor]:
    guidances = [Guidance.resolve({"units": "likelihood", **wish}) for wish in wishes]
    return sampled(bundle(data, process=process, prediction=prediction), *guidances, num=NUM)


def colour_truth(data: Gaussian) -> Gaussian:
    """The mean of each channel is measured: (30, 200, 90) in bytes."""
    means = torch.block_diag(*[torch.full((1, 4), 0.25, dtype=torch.float64)] * 3)
    return data.given(means, torch.tensor([30, 200, 90]) / 127.5 - 1, noise_std=NOISE)


COLOUR = {"kind": "color", "target": "rgb(30, 200, 90)", "scale": 3 / 2 / NOISE**2}


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_a_colour_is_a_measurement_of_the_mean(process, prediction):
    agree(drawn(COLOUR, process=process, prediction=prediction), colour_truth(DATA))


def picture(folder) -> dict:
    bytes_HWC = np.array([[[250, 10, 30], [0, 99, 255]], [[128, 128, 60], [70, 200, 5]]], dtype=np.uint8)
    Image.fromarray(bytes_HWC).save(folder / "target.png")
    return {"kind": "image", "target": str(folder / "target.png"), "scale": 1 / 2 / NOISE**2}


def picture_truth(data: Gaussian, folder) -> Gaussian:
    """Rows of a matrix, made here by hand, for what is compared: pixels, neighbours down and across; then the mean colour."""
    y = torch.from_numpy(np.asarray(Image.open(folder / "target.png")).astype(float) / 127.5 - 1).permute(2, 0, 1).reshape(-1)
    rows = []
    for c in range(3):
        pixel = [torch.eye(12, dtype=torch.float64)[4 * c + place] for place in range(4)]  # up left, up right, down left, down right
        rows += [each / 12**0.5 for each in pixel]
        rows += [(pixel[after] - pixel[before]) / 6**0.5 for before, after in ((0, 2), (1, 3), (0, 1), (2, 3))]
        rows += [sum(pixel) / 4 / 3**0.5]
    operator = torch.stack(rows) / 2**0.5  # two sizes of blocks
    return data.given(operator, operator @ y, noise_std=NOISE)


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_likeness_to_a_picture_is_a_measurement_of_blocks(process, prediction, tmp_path):
    agree(drawn(picture(tmp_path), process=process, prediction=prediction), picture_truth(DATA, tmp_path))


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_symmetry_is_a_measurement_of_differences(process, prediction):
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    differences = torch.zeros(6, 12, dtype=torch.float64)
    for row, (left, right) in enumerate(pairs):
        differences[row, left], differences[row, right] = 1, -1
    wish = {"kind": "symmetry", "scale": 6 / 2 / NOISE**2}  # the mean of twelve squares, each pair twice
    agree(drawn(wish, process=process, prediction=prediction), DATA.given(differences, torch.zeros(6).double(), noise_std=NOISE))


@pytest.mark.usefixtures("_users_module")
@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_functions_of_the_users_are_likelihoods(process, prediction):
    moved = Gaussian(DATA.mean_D - DATA.covariance_DD @ PROJECTION, DATA.covariance_DD)
    for wish in ({"kind": "python", "function": "users_losses.linear"}, {"kind": "scorer", "function": "users_losses.better"}):
        agree(drawn({**wish, "scale": 1}, process=process, prediction=prediction), moved)
    square = {"kind": "python", "function": "users_losses.square", "scale": 1}
    truth = DATA.given(PROJECTION[None], torch.ones(1).double(), noise_std=0.2)
    agree(drawn(square, process=process, prediction=prediction), truth)


@pytest.mark.parametrize("order", [0, 1])
def test_wishes_add_up_in_any_order(order, tmp_path):
    wishes = list(itertools.permutations([COLOUR, picture(tmp_path)]))[order]
    agree(drawn(*wishes), colour_truth(picture_truth(DATA, tmp_path)))


def test_a_wish_for_part_of_the_way_is_another_distribution(tmp_path):
    """The window counts: what is asked only of noise leaves less than what is asked to the end."""
    late, early = ({**COLOUR, **window} for window in ({"start": 0.5}, {"stop": 0.5}))
    truth, plain = colour_truth(DATA), DATA
    gaps = []
    for wish in (early, late):
        (mean, _), far = drawn(wish), (truth.mean_D - plain.mean_D).norm()
        gaps.append(float((mean - truth.mean_D).norm() / far))
    assert min(gaps) > 0.05
    assert max(gaps) < 0.95


@pytest.mark.usefixtures("_users_module")
@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_a_logistic_likelihood_is_that_of_quadrature(process, prediction):
    """As a classifier has it, on one projection: within 0.1 standard deviations, with a spread right to 6 %."""
    mean, covariance = drawn({"kind": "python", "function": "users_losses.logistic", "scale": 1}, process=process, prediction=prediction)
    prior_mean, prior_std = float(PROJECTION @ DATA.mean_D), float(PROJECTION @ DATA.covariance_DD @ PROJECTION) ** 0.5
    s = torch.linspace(prior_mean - 9 * prior_std, prior_mean + 9 * prior_std, 40001, dtype=torch.float64)
    weights = (-((s - prior_mean) ** 2) / 2 / prior_std**2 + torch.nn.functional.logsigmoid(4 * (s - 1))).softmax(0)
    true_mean = float(weights @ s)
    true_std = float(weights @ (s - true_mean) ** 2) ** 0.5
    assert true_mean - prior_mean > 1.5 * prior_std, "the classifier must have something to say"
    assert abs(float(PROJECTION @ mean) - true_mean) < 0.1 * true_std
    assert float(PROJECTION @ covariance @ PROJECTION) ** 0.5 == pytest.approx(true_std, rel=0.06)


@pytest.mark.usefixtures("_users_module")
def test_a_curved_likelihood_is_near_that_of_quadrature():
    """A ring in two dimensions of data that lie to one side of it: neither quadratic nor along a line, so not exact; the error is
    stated in docs/guidance.md."""
    data = Gaussian(torch.tensor([0.8, 0.3, *[0.0] * 10]).double(), torch.diag(torch.tensor([0.25, 0.5, *[1.0] * 10]).double()))
    mean, covariance = drawn({"kind": "python", "function": "users_losses.ring", "scale": 1}, data=data)
    axis = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    log = -((x - 0.8) ** 2) / 2 / 0.25 - (y - 0.3) ** 2 / 2 / 0.5 - ((x**2 + y**2).sqrt() - 1.5) ** 2 / 2 / 0.2**2
    weights = log.flatten().softmax(0).view_as(log)
    true_mean = torch.stack([(weights * x).sum(), (weights * y).sum()])
    true_std = torch.stack([(weights * (axis_ - centre) ** 2).sum().sqrt() for axis_, centre in zip((x, y), true_mean, strict=True)])
    assert ((mean[:2] - true_mean).abs() < 0.5 * true_std).all()
    assert (covariance.diagonal()[:2].sqrt() / true_std - 1).abs().max() < 0.3
