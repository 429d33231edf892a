"""The published architectures at full size without a weight, miniatures of them with weights, and random adapters for both."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aquatint.export.adapter import Adapter, Factors

XL_BLOCKS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2, 10),
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True,
}  # fmt: skip
PART = {"sd1": "unet", "sd2": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}


def _full_size(name: str) -> nn.Module:
    """As the published `config.json` says."""
    from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

    with torch.device("meta"):
        if name == "sd3":
            return SD3Transformer2DModel(
                sample_size=128, num_layers=24, num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
                pos_embed_max_size=192,
            )  # fmt: skip
        if name == "flux":
            return FluxTransformer2DModel(guidance_embeds=True)
        if name == "sdxl":
            sizes = {"block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048}
            return UNet2DConditionModel(sample_size=128, projection_class_embeddings_input_dim=2816, **XL_BLOCKS, **sizes)
        widths = {"sd1": {"cross_attention_dim": 768}, "sd2": {"cross_attention_dim": 1024, "use_linear_projection": True}}
        return UNet2DConditionModel(sample_size=64, **widths[name])


def _miniature(name: str) -> nn.Module:
    from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

    torch.manual_seed(3)
    if name == "flux":
        return FluxTransformer2DModel(
            in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            pooled_projection_dim=32, guidance_embeds=True, axes_dims_rope=(4, 4, 8),
        )  # fmt: skip
    if name == "sd3":
        return SD3Transformer2DModel(
            sample_size=8, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            caption_projection_dim=32, pooled_projection_dim=64, out_channels=4, dual_attention_layers=(0,), qk_norm="rms_norm",
        )  # fmt: skip
    shared = {"sample_size": 8, "layers_per_block": 2, "norm_num_groups": 8, "cross_attention_dim": 32}
    if name == "sdxl":
        blocks = {**XL_BLOCKS, "transformer_layers_per_block": (1, 1, 2), "addition_time_embed_dim": 8}
        sizes = {"block_out_channels": (16, 32, 32), "attention_head_dim": (2, 4, 4), "projection_class_embeddings_input_dim": 80}
        return UNet2DConditionModel(**shared, **blocks, **sizes)
    return UNet2DConditionModel(**shared, block_out_channels=(8, 16, 16, 16), attention_head_dim=2)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}


def random_factors(weight: Tensor, *, rank: int, alpha: float | None, generator: torch.Generator) -> Factors:
    down = torch.randn(rank, *weight.shape[1:], generator=generator) * 0.2
    up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2), generator=generator) * 0.2
    return Factors(down, up, alpha)


@pytest.fixture(scope="session")
def full_size() -> Callable[[str], nn.Module]:
    return cache(_full_size)


@pytest.fixture(scope="session")
def miniature() -> Callable[[str], nn.Module]:
    return cache(_miniature)


@pytest.fixture(scope="session")
def adapter_for() -> Callable[..., Adapter]:
    """(architecture, model, rank=, alpha=, only=, seed=) -> random updates of its layers whose names hold one of `only`."""

    def make(
        architecture: str, model: nn.Module, *, rank: int = 1, alpha: float | None = None, only: tuple[str, ...] = ("",), seed: int = 0
    ) -> Adapter:
        generator = torch.Generator().manual_seed(seed)
        chosen = {name: module for name, module in layers(model).items() if any(part in name for part in only)}
        made: dict[str, Any] = {
            f"{PART[architecture]}.{name}": random_factors(module.weight, rank=rank, alpha=alpha, generator=generator)
            for name, module in chosen.items()
        }
        return Adapter(made, architecture)

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
