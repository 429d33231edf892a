"""What default LoRA trains in the published models, built from their published settings without weights. WRITE_GOLDEN=1 writes anew.

The numbers in the file are held to formulas here: `r (in + out)` for each adapted layer.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from peft.tuners.lora import LoraLayer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from aquatint.methods.lora import LoRA, Part
from aquatint.registry import families

FILE = Path(__file__).with_name("full_size.json")
RANK = 4
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280}
MMDIT = {"in_channels": 16, "out_channels": 16, "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192}
XL = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": (5, 10, 20),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


def mmdit(num, **more):
    """As deep as it has heads of 64."""
    width = {"num_layers": num, "num_attention_heads": num, "attention_head_dim": 64, "caption_projection_dim": num * 64}
    return SD3Transformer2DModel(**MMDIT, **width, **more)


MODELS = {
    "SD 1.5": ("sd", "unet", lambda: UNet2DConditionModel(sample_size=64, cross_attention_dim=768)),
    "SDXL base": ("sdxl", "unet", lambda: UNet2DConditionModel(**XL)),
    "SD3 medium": ("sd3", "transformer", lambda: mmdit(24)),
    "SD3.5 large": ("sd3", "transformer", lambda: mmdit(38, qk_norm="rms_norm")),
    "FLUX.1 dev": ("flux", "transformer", lambda: FluxTransformer2DModel(guidance_embeds=True)),
    "FLUX.1 schnell": ("flux", "transformer", lambda: FluxTransformer2DModel()),
    "CLIP-L": ("flux", "text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**CLIP_L))),
    "CLIP-bigG": ("sdxl", "text_encoder_2", lambda: CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G))),
}
T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}


def cross_attention(width, text):
    """Lengths of the sides of a U-Net block's eight layers: four of attention to itself, four to a text."""
    return 4 * 2 * width + 2 * 2 * width + 2 * (width + text)


FORMULAS = {
    # 16 blocks: 5 each of the three wide levels, and the middle
    "SD 1.5": (128, RANK * (5 * cross_attention(320, 768) + 5 * cross_attention(640, 768) + 6 * cross_attention(1280, 768))),
    # 4 + 6 blocks of 640, 20 + 10 + 30 of 1280
    "SDXL base": (560, RANK * (10 * cross_attention(640, 2048) + 60 * cross_attention(1280, 2048))),
    # eight layers a block; the last one has no output for the text
    "SD3 medium": (24 * 8 - 1, RANK * (24 * 8 - 1) * 2 * 1536),
    "SD3.5 large": (38 * 8 - 1, RANK * (38 * 8 - 1) * 2 * 2432),
    # eight in each of 19 double blocks, three in each of 38 single ones
    "FLUX.1 dev": (19 * 8 + 38 * 3, RANK * (19 * 8 + 38 * 3) * 2 * 3072),
    "FLUX.1 schnell": (19 * 8 + 38 * 3, RANK * (19 * 8 + 38 * 3) * 2 * 3072),
    "CLIP-L": (12 * 4, RANK * 12 * 4 * 2 * 768),
    "CLIP-bigG": (32 * 4, RANK * 32 * 4 * 2 * 1280),
}


@cache
def counted(name):
    """Weights of the model, layers that are adapted, numbers that are trained, and as many as are foretold from shapes."""
    family, part, build = MODELS[name]
    family, is_text = families[family], part.startswith("text_encoder")
    method = LoRA(rank=RANK, text_encoder=is_text)
    with torch.device("meta"):
        module = build().requires_grad_(False)
        shapes = {part: {name: tuple(p.shape) for name, p in module.named_parameters()}}
        weights = sum(p.numel() for p in module.parameters())
        targets = family.text_targets if is_text else method._targets(family)
        adapted = Part(part, module, list(targets))
        assert not list(method._problems(adapted))
        trained = method._adapt(adapted)
    layers = sum(isinstance(m, LoraLayer) for m in module.modules())
    numbers = sum(p.numel() for p in trained.values())
    return {"weights": weights, "layers": layers, "numbers": numbers}, method.num_trained(shapes, family)


@pytest.mark.parametrize("name", MODELS)
def test_the_adapters_of_full_models_are_the_golden_ones(name):
    (found, foretold), golden = counted(name), json.loads(FILE.read_text()) if FILE.exists() else {}
    assert (found["layers"], found["numbers"]) == FORMULAS[name]
    assert foretold == found["numbers"]
    if "WRITE_GOLDEN" in os.environ:
        FILE.write_text(json.dumps({**golden, name: found}, indent=1) + "\n")
        pytest.skip("written")
    assert found == golden[name]


def test_formulas_and_golden_numbers_are_of_the_same_models():
    assert set(FORMULAS) == set(MODELS) == set(json.loads(FILE.read_text()))
    assert FORMULAS["SD 1.5"] == (128, 797_184)


def test_t5_is_read_and_never_adapted():
    with torch.device("meta"):
        t5 = T5EncoderModel(T5Config(vocab_size=32128, **T5_XXL))
    assert sum(p.numel() for p in t5.parameters()) == 4_762_310_656
    ends = tuple(f".{target}" for target in families["flux"].text_targets)
    assert not [name for name, _ in t5.named_modules() if name.endswith(ends)]
