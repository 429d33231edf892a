"""The moving average against an explicit loop."""

import pytest
import torch
from torch import nn

from aquatint.training.ema import MovingAverage


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_that_of_an_explicit_loop(decay):
    generator = torch.Generator().manual_seed(0)
    parameters = {"a": nn.Parameter(torch.randn(3, 2, generator=generator)), "b": nn.Parameter(torch.randn(4, generator=generator))}
    average = MovingAverage(parameters, decay)
    expected = {name: p.detach().double() for name, p in parameters.items()}
    for step in range(1, 30):
        with torch.no_grad():
            for p in parameters.values():
                p.add_(torch.randn(p.shape, generator=generator))
        average.update(step)
        rising = min(decay, (1 + step) / (10 + step))
        expected = {name: rising * expected[name] + (1 - rising) * p.detach().double() for name, p in parameters.items()}
    for name, value in expected.items():
        torch.testing.assert_close(average.average[name].double(), value, rtol=1e-5, atol=1e-6)


def test_in_place_swaps_and_swaps_back_even_after_an_error():
    parameter = nn.Parameter(torch.tensor([1.0]))
    average = MovingAverage({"p": parameter}, 0.5)
    with torch.no_grad():
        parameter.fill_(3.0)
    inside = []
    try:
        with average.in_place():
            inside.append(parameter.item())
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert inside == [1.0]
    assert parameter.item() == 3.0
    assert average.average["p"].item() == 1.0


def test_a_restored_average_goes_on_bit_for_bit():
    def run(average, parameter, *, steps):
        for step in steps:
            with torch.no_grad():
                parameter.add_(torch.tensor([0.1 * step, 0.7]))
            average.update(step)

    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    straight = MovingAverage({"p": parameter}, 0.9)
    run(straight, parameter, steps=range(1, 5))
    other = nn.Parameter(parameter.detach().clone())
    resumed = MovingAverage({"p": other}, 0.9)
    resumed.restore({"p": straight.average["p"].clone()})
    run(straight, parameter, steps=range(5, 9))
    run(resumed, other, steps=range(5, 9))
    assert torch.equal(straight.average["p"], resumed.average["p"])
