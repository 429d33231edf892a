"""Which number format the forward pass uses, measured on the device at hand, and which one frozen weights are held in."""

import time
from functools import cache
from typing import Literal

import torch
from torch import nn

from aquatint.errors import BadSetting

FASTER = 1.3
"""bf16 is chosen when it is at least this many times as fast as fp32."""


@cache
def bf16_speedup(device: torch.device) -> float:
    """Time of a small convolution and matrix product, forward and backward, in fp32 over that in bf16 autocast."""
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, 64, 3, padding=1)).to(device)
        pixels = torch.randn(8, 64, 16, 16, device=device)
    plain, half = (_seconds(network, pixels, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    return plain / half


def is_bf16_fast(device: torch.device) -> bool:
    """Whether bf16 pays on this device: many CPUs and old GPUs only emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bf16_speedup(device) >= FASTER


def format_of_frozen(asked: Literal["auto", "fp32", "bf16"], precision: torch.dtype, *, keeps_base: bool) -> Literal["fp32", "bf16"]:
    """How the base's own weights are held; autocast would round them at every use anyway.

    Raises `BadSetting` when bf16 is asked for and the forward pass is not in it.
    """
    is_bf16 = precision == torch.bfloat16
    if asked == "bf16" and not is_bf16:
        advice = "say precision=bf16, or leave frozen= out"
        raise BadSetting(f"frozen=bf16: it needs a forward pass in bf16, which precision=auto did not choose here; {advice}")
    if asked == "auto":
        return "bf16" if is_bf16 and keeps_base else "fp32"
    return asked


def _seconds(network: nn.Module, pixels: torch.Tensor, *, dtype: torch.dtype) -> float:
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        with torch.autocast(pixels.device.type, dtype, enabled=dtype != torch.float32):
            loss = network(pixels).square().mean()
        loss.backward()
        network.zero_grad()
        best = min(best, time.perf_counter() - begun)
    return best
