"""The number format of the forward pass: measured, without a trace."""

import torch

from aquatint.methods.base import Method
from aquatint.registry import families
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


def test_a_bf16_forward_pass_leaves_the_trained_tensors_in_float32(make_trainer, tmp_path):
    """R35"""
    torch.manual_seed(2)
    family, method = families["sd"], Method.resolve({"kind": "full"})
    trainer = make_trainer(family.tiny(), family, method=method, folder=tmp_path, num_steps=2)
    trainer.precision = torch.bfloat16
    losses = [event.loss for event in trainer.run() if hasattr(event, "gradient_norm")]
    plain = make_trainer(family.tiny(), family, method=method, folder=tmp_path, num_steps=2)
    assert {p.dtype for p in trainer.parameters.values()} == {p.dtype for p in plain.parameters.values()} == {torch.float32}
    assert all(0 < loss < 100 for loss in losses)
    assert len(losses) == 2
