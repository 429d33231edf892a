"""The number format of the forward pass: measured, without a trace."""

import torch

from aquatint.training import precision

CPU = torch.device("cpu")


def test_the_choice_on_a_cpu_follows_the_measurement():
    speedup = precision.bf16_speedup(CPU)
    assert 0.01 < speedup < 100
    assert precision.is_bf16_fast(CPU) == (speedup >= precision.FASTER)
    assert precision.bf16_speedup(CPU) == speedup  # measured once in a process, so it cannot change in a run


def test_measuring_does_not_touch_the_run_s_randomness():
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    precision.bf16_speedup.__wrapped__(CPU)
    assert torch.equal(torch.randn(3), expected)
