"""Principal components as the beginning of a low-rank update (PiSSA, Meng et al. 2024).

A and B begin as the largest components of W, which then holds the rest: W' = W - s B_0 A_0. What is learned is s (B A - B_0 A_0),
an update of W of twice the rank, and is written as that.
"""

from typing import Any

import torch
from torch import Tensor, nn

START = ("start_A", "start_B")
"""Buffers of an adapted layer that hold A_0 and B_0."""
ITERATIONS, SPARE = 16, 16


def begin_principal(network: nn.Module, *, adapter: str) -> None:
    """Split the weight of every low-rank layer of PEFT's into A, B and the rest; in float64 and the same every time."""
    for layer in network.modules():
        if hasattr(layer, "lora_A"):
            _split(layer, adapter)


@torch.no_grad()
def _split(layer: Any, adapter: str) -> None:
    weight, a, b, scale = layer.get_base_layer().weight, layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]
    whole_MN = weight.detach().cpu().double().flatten(1)
    u_MR, s_R, v_RN = principal(whole_MN, rank=len(a))
    root_R = (s_R / scale).sqrt()
    a.copy_((root_R[:, None] * v_RN).view_as(a))
    b.copy_((u_MR * root_R).view_as(b))
    for name, side in zip(START, (a, b), strict=True):
        layer.register_buffer(name, side.detach().clone(), persistent=False)
    taken_MN = b.cpu().double().flatten(1) @ a.cpu().double().flatten(1)
    weight.copy_((whole_MN - scale * taken_MN).view_as(weight))


def principal(whole_MN: Tensor, *, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values and their vectors, (M, R), (R,) and (R, N), by subspace iteration (Halko et al. 2011)."""
    width = min(rank + SPARE, *whole_MN.shape)
    probe_NK = torch.randn(whole_MN.shape[1], width, dtype=whole_MN.dtype, generator=torch.Generator().manual_seed(0))
    for _ in range(ITERATIONS):
        image_MK, _ = torch.linalg.qr(whole_MN @ probe_NK)
        probe_NK, _ = torch.linalg.qr(whole_MN.T @ image_MK)
    u_MK, s_K, v_KK = torch.linalg.svd(whole_MN @ probe_NK, full_matrices=False)
    return u_MK[:, :rank], s_K[:rank], (v_KK @ probe_NK.T)[:rank]
