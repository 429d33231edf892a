"""Layers computed twice instead of kept: the same numbers, for every family, beside frozen weights and in text encoders."""

from collections import Counter
from functools import partial

import pytest
import torch
from cases import CASES, family_of
from torch import nn

from aquatint.errors import BadSetting
from aquatint.methods.base import Method
from aquatint.training.memory import checkpoint_gradients


@pytest.fixture
def trained(tiny, make_trainer, tmp_path):
    """(case, settings, is_checkpointed=, precision=) -> losses, trained tensors, and how often layers were asked."""

    def train(case, settings, *, is_checkpointed, precision=torch.float32):
        bundle, method, asked = tiny(case), Method.resolve(settings), Counter()
        place = tmp_path / str(is_checkpointed)
        if is_checkpointed:
            checkpoint_gradients(bundle, reaches_text=method.encodes_anew)
        trainer = make_trainer(bundle, family_of(case), method=method, folder=place, num_steps=2, lr=1e-2)
        trainer.precision = precision
        for module in (bundle.denoiser, *bundle.text_encoders):
            for name, layer in module.named_modules():
                if isinstance(layer, nn.Linear | nn.Conv2d) and ".lora_" not in name:
                    layer.register_forward_hook(partial(count, asked, type(module).__name__))
        losses = [event.loss for event in trainer.run() if hasattr(event, "gradient_norm")]
        return losses, {name: p.detach().clone() for name, p in trainer.parameters.items()}, asked

    return train


def count(asked, place, *_):
    asked[place] += 1


def same(trained, case, *, settings, **how):
    (losses, after, asked), (expected, kept, once) = (trained(case, settings, is_checkpointed=it, **how) for it in (True, False))
    assert losses == pytest.approx(expected, rel=1e-6)
    for name, tensor in kept.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-5, atol=1e-6)
    return asked, once


@pytest.mark.parametrize(("case", "precision"), [*((case, torch.float32) for case in CASES), ("sd", torch.bfloat16)])
def test_checkpointing_changes_no_number_and_computes_twice(case, precision, trained):
    assert len(CASES) >= 1
    asked, once = same(trained, case, settings={"kind": "lora", "rank": 2}, precision=precision)
    assert sum(asked.values()) > 1.2 * sum(once.values()) > 0


def test_a_trained_text_encoder_computes_twice_too(trained):
    asked, once = same(trained, "sd", settings={"kind": "lora", "rank": 2, "text_encoder": True})
    assert len(once) == 2
    assert all(asked[place] > 1.2 * once[place] for place in once)


def test_an_architecture_that_cannot_is_refused(tiny, monkeypatch):
    bundle = tiny("sd")
    monkeypatch.setattr(type(bundle.denoiser), "_supports_gradient_checkpointing", False)
    with pytest.raises(BadSetting, match="UNet2DConditionModel cannot compute its layers again"):
        checkpoint_gradients(bundle, reaches_text=False)
