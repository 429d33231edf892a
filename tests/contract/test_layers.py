"""The lean adapter layers compute what PEFT's own do."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from aquatint.methods._layers import LeanConv2d, LeanLinear, lean


def adapted(alpha, *, is_lean):
    """A network with a linear layer and two convolutions, all adapted; the same numbers every time."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.Linear(96, 5))
    network.requires_grad_(False)
    config = LoraConfig(r=4, lora_alpha=alpha, target_modules=["0", "2", "4"])
    inject_adapter_in_model(lean(config) if is_lean else config, network)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return network


def answer(network, *, is_half):
    """Output, and the gradient of every adapter."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        output = network(x)
    output.float().square().sum().backward()
    return [output, *(p.grad for p in network.parameters() if p.requires_grad)]


@pytest.mark.parametrize("is_half", [False, True])
@pytest.mark.parametrize("alpha", [4, 2])
def test_outputs_and_gradients_are_the_same_to_the_bit(alpha, is_half):
    network = adapted(alpha, is_lean=True)
    assert sum(isinstance(layer, LeanLinear | LeanConv2d) for layer in network.modules()) == 3
    ours, theirs = answer(network, is_half=is_half), answer(adapted(alpha, is_lean=False), is_half=is_half)
    assert len(ours) == len(theirs) == 7
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_is_switched_off_or_merged_is_left_to_peft():
    network, plain = adapted(4, is_lean=True), adapted(4, is_lean=False)
    for change in (lambda layer: layer.merge(), lambda layer: layer.unmerge(), lambda layer: layer.enable_adapters(False)):
        for layers in zip(network.modules(), plain.modules(), strict=True):
            if isinstance(layers[0], LeanLinear | LeanConv2d):
                for layer in layers:
                    change(layer)
        x = torch.ones(1, 3, 8, 8)
        assert torch.equal(network(x), plain(x))
