"""Gaussian data has a closed-form denoiser: what is drawn, plain or steered, must have the mean and covariance that theory says."""

import pytest
import torch
from numerics.gaussian import SETTINGS, Gaussian, bundle, example, sampled

from aquatint.core.request import Request
from aquatint.core.steering import nudged, tilted
from aquatint.generation.sampling import scene_of

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


@pytest.mark.parametrize(("process", "prediction"), SETTINGS)
@pytest.mark.parametrize(("side", "num_steps", "factor"), [(2, 60, 1.0), (2, 200, 1e3), (4, 60, 1e-3)])
def test_a_scale_is_standard_deviations_whatever_the_loss_size_and_steps(process, prediction, side, num_steps, factor):
    """On data of unit variance all pixels move by `scale` when the gradient is the same everywhere, also of a loss that is never met."""
    dimensions = 3 * side * side
    data = Gaussian(torch.zeros(dimensions).double(), torch.eye(dimensions).double(), (3, side, side))

    class Nudge:
        def wrap(self, denoise, scene):
            loss = lambda pixels: -factor * pixels.sum((1, 2, 3))  # noqa: E731
            return nudged(denoise, loss, scene=scene, scale=0.7, is_through=True, is_bounded=False)

    mean, covariance = sampled(bundle(data, process=process, prediction=prediction), Nudge(), num=NUM, num_steps=num_steps)
    assert (mean - 0.7).abs().max() < 4 / NUM**0.5 + 0.03
    assert (covariance.diagonal() - 1).abs().max() < 0.2


def test_a_step_ends_where_the_loss_would_be_zero():
    """A squared distance is halved by each look that ends there, and never overshot; negative losses have no such end."""
    data = Gaussian(torch.zeros(12).double(), torch.eye(12).double())
    made = bundle(data, process="flow", prediction="flow_prediction")
    scene = scene_of(made, [Request("", 0), Request("", 1)], told=made.family.conditions(made, []))
    x_t, t = torch.zeros(2, 3, 2, 2), torch.full((2,), 0.5)
    square = lambda pixels: (pixels - 1).square().mean((1, 2, 3))  # noqa: E731
    looked = {
        scale: nudged(scene.told, square, scene=scene, scale=scale, is_through=True)(x_t, t).mean((1, 2, 3)) for scale in (0.2, 1e6)
    }
    assert looked[0.2].tolist() == pytest.approx([0.1, 0.1])  # spread^2 at t = 0.5 is 0.5
    assert looked[1e6].tolist() == pytest.approx([0.5, 0.5])
    below = nudged(scene.told, lambda pixels: square(pixels) - 2, scene=scene, scale=1e6, is_through=True)(x_t, t)
    assert below.mean() > 1e5


def test_the_covariance_is_that_of_what_the_prompt_says():
    """Steered outside classifier-free guidance, a wish asks the network with the prompt, not 5 times one Jacobian less 4 times another."""
    data = example()
    made = bundle(data, process="vp", prediction="epsilon")
    scene = scene_of(made, [Request("", 0)], told=made.family.conditions(made, []))
    x_t, t = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0.4])
    weights = torch.linspace(-1, 1, 12, dtype=torch.float64)
    loss = lambda pixels: pixels.double().flatten(1) @ weights  # noqa: E731
    ways = [
        tilted(denoise, loss, scene=scene, scale=1.0, is_through=True)(x_t, t) - denoise(x_t, t)
        for denoise in (scene.told, lambda x_t, t: 5 * scene.told(x_t, t) - 4 * x_t.sin())
    ]
    alpha, sigma = made.objective.process.alpha(t).double(), made.objective.process.sigma(t).double()
    truth = -torch.linalg.inv(torch.linalg.inv(data.covariance_DD) + alpha**2 / sigma**2 * torch.eye(12)) @ weights
    for way in ways:
        assert (way.double().flatten() - truth).abs().max() < 1e-4
