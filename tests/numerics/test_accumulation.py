"""The gradient of a weighted global batch does not depend on how it is split into micro-batches (R37)."""

import pytest
import torch

from aquatint.methods.base import Method
from aquatint.registry import families

WEIGHTS = [1.0, 0.25, 3.0, 1.0, 0.5, 2.0]
SD = families["sd"]


@pytest.fixture
def gradients(make_trainer, tmp_path):
    """(batch size, accumulation) -> the weights after one step of plain gradient descent, its loss, and its norm."""

    def step(batch_size, accumulate):
        torch.set_num_threads(1)
        torch.manual_seed(2)
        how = {"batch_size": batch_size, "accumulate": accumulate, "weights": WEIGHTS, "optimizer": "sgd", "lr": 1.0}
        bundle, method = SD.tiny(), Method.resolve({"kind": "lora", "rank": 2})
        trainer = make_trainer(bundle, SD, method=method, folder=tmp_path, num_steps=1, **how)
        with torch.no_grad():
            for name, parameter in trainer.parameters.items():
                if "lora_B" in name:
                    parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
        before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
        event = next(event for event in trainer.run() if type(event).__name__ == "Stepped")
        return {name: before[name] - p.detach() for name, p in trainer.parameters.items()}, event

    return step


@pytest.mark.parametrize(("batch_size", "accumulate"), [(3, 2), (2, 3), (1, 6)])
def test_six_pictures_at_once_are_six_pictures_one_by_one(batch_size, accumulate, gradients):
    whole, at_once = gradients(6, 1)
    split, in_parts = gradients(batch_size, accumulate)
    assert in_parts.loss == pytest.approx(at_once.loss, rel=1e-5)
    assert in_parts.gradient_norm == pytest.approx(at_once.gradient_norm, rel=1e-4)
    assert in_parts.num_images == at_once.num_images == 6
    assert len(whole) > 20
    for name, step in whole.items():
        assert step.abs().max() > 0, name
        torch.testing.assert_close(split[name], step, rtol=1e-3, atol=1e-6)
