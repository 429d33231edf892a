"""Attention for small pictures on the CPU.

PyTorch's fused attention has a slow backward pass in bf16 on CPUs: at 64 x 32 tokens plain matrix products take a ninth
of its time (`benchmarks/attention.py`). Long sequences stay with the fused one, which needs no table of all pairs.
"""

from typing import Any

from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, bfloat16, is_autocast_enabled

MAX_TOKENS = 256


def use_small_attention(denoiser: Any) -> None:
    """Every attention layer of a diffusers U-Net."""
    denoiser.set_attn_processor(SmallAttention())


class SmallAttention(AttnProcessor2_0):  # type: ignore[misc]  # diffusers is untyped
    """The fused attention, but plain matrix products for short sequences in bf16 on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = AttnProcessor()

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        is_short = hidden_states.shape[1:].numel() // hidden_states.shape[-1] <= MAX_TOKENS
        is_half = hidden_states.dtype == bfloat16 or is_autocast_enabled("cpu")
        chosen = self._plain if hidden_states.device.type == "cpu" and is_half and is_short else super().__call__
        out: Tensor = chosen(attn, hidden_states, *args, **kwargs)
        return out
