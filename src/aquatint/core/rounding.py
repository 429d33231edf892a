"""Frozen weights held in bfloat16: half the memory, and nothing to cast where autocast multiplies by them.

Autocast rounds the float32 weight of a linear layer or a convolution at every use; rounded once and for all, it gives the same
products to the bit. Norms, biases, tables and what is trained stay float32.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

HELD = torch.bfloat16
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def roundable(network: nn.Module) -> list[Any]:
    """Its layers with frozen float32 weights, but for those that the architecture keeps in float32.

    The first one stays too: some networks cast what they are told to the format of their first weight.
    """
    spared, first = set(getattr(network, "_keep_in_fp32_modules", None) or ()), next(network.parameters(), None)
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, LAYERS) and layer.weight is not first]
    frozen = [(name, layer) for name, layer in layers if layer.weight.dtype == torch.float32 and not layer.weight.requires_grad]
    return [layer for name, layer in frozen if not spared.intersection(name.split("."))]


def hold(layers: Iterable[Any]) -> None:
    for layer in layers:
        layer.weight.data = layer.weight.data.to(HELD)


def held(network: nn.Module) -> list[Any]:
    """Its layers whose weights were rounded."""
    return [layer for layer in network.modules() if isinstance(layer, LAYERS) and layer.weight.dtype == HELD]


@contextmanager
def opened(network: nn.Module) -> Iterator[None]:
    """Inside, what is held is float32 (of rounded values), for whoever adds weights in the format of those that are there.

    It is on the CPU then, where it was before it was held: a device may not have the room.
    """
    if not (layers := held(network)):
        yield
        return
    device = layers[0].weight.device
    network.to("cpu")
    for layer in layers:
        layer.weight.data = layer.weight.data.float()
    try:
        yield
    finally:
        hold(layers)
        network.to(device)


@contextmanager
def in_float32(network: nn.Module) -> Iterator[None]:
    """Inside, the network computes in float32 with rounded weights, and no more than one layer at a time takes the room of float32."""
    hooks = []
    for layer in held(network):
        kept = layer.weight.data
        hooks.append(layer.register_forward_pre_hook(_widen))
        hooks.append(layer.register_forward_hook(partial(_narrow, kept), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _widen(layer: Any, *_: object) -> None:
    layer.weight.data = layer.weight.data.float()


def _narrow(kept: torch.Tensor, layer: Any, *_: object) -> None:
    layer.weight.data = kept
