"""Gaussian data has a closed-form denoiser: what is drawn, plain or steered, must have the mean and covariance that theory says."""

import pytest
import torch
from numerics.gaussian import SETTINGS, Gaussian, bundle, example, sampled

from aquatint.core.steering import tilted

NUM = 2000


class Tilt:
    """A linear loss: exp(-w x) times a Gaussian is the same Gaussian, moved by -C w."""

    def __init__(self, weights, *, is_through):
        self.weights, self.is_through = weights, is_through

    def wrap(self, denoise, scene):
        loss = lambda pixels: pixels.double().flatten(1) @ self.weights  # noqa: E731
        return tilted(denoise, loss, scene=scene, scale=1.0, is_through=self.is_through)


def agree(drawn: tuple[torch.Tensor, torch.Tensor], truth: Gaussian) -> None:
    """Within four standard errors of each entry, and a hundredth for the steps' own error."""
    mean, covariance = drawn
    variance = truth.covariance_DD.diagonal()
    assert ((mean - truth.mean_D).abs() < 4 * (variance / NUM).sqrt() + 0.01).all()
    error = ((variance[:, None] * variance + truth.covariance_DD**2) / NUM).sqrt()
    assert ((covariance - truth.covariance_DD).abs() < 4.5 * error + 0.01).all()


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_unsteered_pictures_are_the_data(process, prediction):
    data = example()
    agree(sampled(bundle(data, process=process, prediction=prediction), num=NUM), data)


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_a_linear_loss_moves_the_mean_by_the_covariance(process, prediction):
    data, weights = example(), torch.linspace(-1, 1, 12, dtype=torch.float64)
    truth = Gaussian(data.mean_D - data.covariance_DD @ weights, data.covariance_DD)
    agree(sampled(bundle(data, process=process, prediction=prediction), Tilt(weights, is_through=True), num=NUM), truth)


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
def test_on_data_of_unit_variance_the_estimate_is_enough(process, prediction):
    data, weights = Gaussian(torch.full((12,), 0.2).double(), torch.eye(12).double()), torch.linspace(-0.5, 0.5, 12, dtype=torch.float64)
    truth = Gaussian(data.mean_D - weights, data.covariance_DD)
    agree(sampled(bundle(data, process=process, prediction=prediction), Tilt(weights, is_through=False), num=NUM), truth)
