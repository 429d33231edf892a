"""The loss of a sample depends on that sample alone; times follow their distributions."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from aquatint.core.objective import Objective
from aquatint.core.process import PREDICTIONS, RectifiedFlow, VariancePreserving
from aquatint.core.randomness import SampleRandom
from aquatint.core.times import LogitNormal, UniformSteps
from aquatint.core.weightings import MinSNR

PROCESS = VariancePreserving(DDPMScheduler().alphas_cumprod)
X_0 = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def network(x_t, t):
    """Something that depends on both."""
    return 0.3 * x_t + t.view(-1, 1, 1, 1) * x_t.roll(1, -1)


def losses(objective, rows, *, seed=3, step=8):
    return objective.losses(network, objective.lesson(X_0[rows], random=SampleRandom(seed, step, rows)))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_reproducible_and_of_each_sample_alone(prediction):
    objective = Objective(PROCESS, prediction).weighted_by(MinSNR())
    together = losses(objective, [0, 1, 2, 3, 4])
    assert together.shape == (5,)
    assert torch.equal(together, losses(objective, [0, 1, 2, 3, 4]))
    assert not torch.equal(together, losses(objective, [0, 1, 2, 3, 4], step=9))
    assert not torch.equal(together, losses(objective, [0, 1, 2, 3, 4], seed=4))
    alone = torch.cat([losses(objective, [row]) for row in range(5)])
    torch.testing.assert_close(alone, together, rtol=1e-6, atol=0)
    torch.testing.assert_close(losses(objective, [4, 1]), together[[4, 1]], rtol=1e-6, atol=0)


def test_a_network_that_says_zero_loses_the_mean_square_of_the_noise():
    objective, random = Objective(PROCESS, "epsilon"), SampleRandom(3, 8, range(5))
    found = objective.losses(lambda x_t, t: torch.zeros_like(x_t), objective.lesson(X_0, random=random))
    torch.testing.assert_close(found, random.normal("noise", X_0.shape[1:]).square().flatten(1).mean(1))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_that_knows_the_answer_loses_nothing(prediction):
    objective, eps, t = Objective(RectifiedFlow(), prediction), torch.randn(5, 4, 8, 8), torch.linspace(0.1, 0.9, 5)
    a, b = {"epsilon": (1, 0), "sample": (0, 1), "v_prediction": (1 - t, -t), "flow_prediction": (1, -1)}[prediction]
    answer = sum(torch.as_tensor(c, dtype=torch.float32).expand(5).view(-1, 1, 1, 1) * part for c, part in ((a, eps), (b, X_0)))
    assert objective.losses(lambda x_t, t: answer, objective.lesson_at(X_0, eps=eps, t=t)).max() < 1e-10
    wrong = objective.losses(lambda x_t, t: answer + 2, objective.lesson_at(X_0, eps=eps, t=t))
    torch.testing.assert_close(wrong, torch.full((5,), 4.0))


def test_losses_are_float32_whatever_the_network_gives():
    objective = Objective(PROCESS, "epsilon")
    found = objective.losses(lambda x_t, t: network(x_t, t).bfloat16(), objective.lesson(X_0, random=SampleRandom(0, 0, range(5))))
    assert found.dtype == torch.float32


@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_uniform_steps_reach_every_step_equally_often(num_steps):
    u = (torch.arange(20 * num_steps) + 0.5) / (20 * num_steps)
    index = (UniformSteps(num_steps)(u) * num_steps).round().long() - 1
    assert torch.equal(index.bincount(), torch.full((num_steps,), 20))
    edges = UniformSteps(num_steps)(torch.tensor([0.0, 1 - 2**-24]))
    torch.testing.assert_close(edges, torch.tensor([1 / num_steps, 1.0]))


@pytest.mark.parametrize(("mean", "std", "shift"), [(0, 1, 1), (0.5, 0.8, 1), (0, 1, 3)])
def test_logit_normal_times_have_the_quantiles_of_their_definition(mean, std, shift):
    """t = sigmoid(z) with z normal, then Esser et al. eq. 23; its quantiles are those of z, mapped."""
    z = torch.tensor([-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536], dtype=torch.float64)
    u = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    t = 1 / (1 + torch.exp(-(mean + std * z)))
    torch.testing.assert_close(LogitNormal(mean, std, shift)(u), shift * t / (1 + (shift - 1) * t), rtol=1e-6, atol=0)
    edges = LogitNormal(mean, std, shift)(torch.tensor([0.0, 1.0]))
    assert torch.isfinite(edges).all()
    assert ((edges > 0) & (edges < 1)).all()


def test_a_mask_counts_what_it_lets_through() -> None:
    objective = Objective(PROCESS, "epsilon")
    lesson = objective.lesson(X_0, random=SampleRandom(0, 0, range(5)))
    plain = objective.losses(network, lesson)
    torch.testing.assert_close(objective.losses(network, replace(lesson, mask_B1HW=torch.ones_like(X_0[:, :1]))), plain)
    half = torch.zeros_like(X_0[:, :1])
    half[..., : X_0.shape[-1] // 2] = 1
    error = (network(lesson.x_t_BCHW, lesson.t_B) - lesson.wanted_BCHW).square()[..., : X_0.shape[-1] // 2]
    torch.testing.assert_close(objective.losses(network, replace(lesson, mask_B1HW=half)), error.flatten(1).mean(1))
    torch.testing.assert_close(objective.losses(network, replace(lesson, mask_B1HW=0.3 * half)), error.flatten(1).mean(1))
    assert objective.losses(network, replace(lesson, mask_B1HW=0 * half)).abs().max() == 0
    both = lesson + replace(lesson, mask_B1HW=half)
    assert torch.equal(both.mask, torch.cat([torch.ones_like(half), half]))
    assert (lesson + lesson).mask_B1HW is None


def test_an_offset_is_one_number_for_each_channel_and_a_part_of_the_noise() -> None:
    plain, random = Objective(PROCESS, "epsilon"), SampleRandom(3, 8, range(5))
    ours, theirs = (each.lesson(X_0, random=random) for each in (replace(plain, noise_offset=0.1), plain))
    added = ours.wanted_BCHW - theirs.wanted_BCHW
    torch.testing.assert_close(added, added[..., :1, :1].expand_as(added), rtol=0, atol=1e-6)
    torch.testing.assert_close(added[..., 0, 0], 0.1 * random.normal("noise offset", (4, 1, 1))[..., 0, 0], rtol=0, atol=1e-6)
    sigma = PROCESS.sigma(ours.t_B).view(-1, 1, 1, 1)
    torch.testing.assert_close(ours.x_t_BCHW - theirs.x_t_BCHW, sigma * added, rtol=0, atol=1e-5)
    again = replace(plain, noise_offset=0.1).lesson(X_0[[4, 1]], random=SampleRandom(3, 8, [4, 1]))
    assert torch.equal(again.wanted_BCHW, ours.wanted_BCHW[[4, 1]])


def test_validation_has_no_offset() -> None:
    plain, eps, t = Objective(PROCESS, "epsilon"), torch.randn(5, 4, 8, 8), torch.full((5,), 0.5)
    assert torch.equal(replace(plain, noise_offset=0.1).lesson_at(X_0, eps=eps, t=t).wanted_BCHW, eps)
