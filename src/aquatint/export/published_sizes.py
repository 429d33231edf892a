"""Every layer of the published models, as diffusers names them: U-Nets by the depth of their blocks, transformers by their count.

Where variants differ in size, the largest counts. A residual layer's shortcut is listed for all of them, though only those
that change the number of channels have one.
"""

from collections.abc import Iterator
from functools import cache

from aquatint.export.architectures import ARCHITECTURES
from aquatint.export.native import TRANSFORMERS, UNET_OUTSIDE

DEPTHS = {"sd1": ((1, 1, 1, 0), 1, (0, 1, 1, 1)), "sd2": ((1, 1, 1, 0), 1, (0, 1, 1, 1)), "sdxl": ((0, 2, 10), 10, (10, 2, 0))}
"""Transformer layers in each block's attention: on the way down, in the middle, on the way up."""
COUNTS = {"flux": {"transformer_blocks": 19, "single_transformer_blocks": 38}, "sd3": {"transformer_blocks": 38}}
RESIDUAL = ("conv1", "conv2", "time_emb_proj", "conv_shortcut")
ATTENTION = tuple(f"attn{number}.to_{leaf}" for number in (1, 2) for leaf in ("q", "k", "v", "out.0"))
TRANSFORMER_LAYER = (*ATTENTION, "ff.net.0.proj", "ff.net.2")
CLIP_LAYER = (*(f"self_attn.{leaf}_proj" for leaf in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")
CLIP_DEPTHS = {("sd2", "text_encoder"): 23, ("sdxl", "text_encoder_2"): 32, ("sd3", "text_encoder_2"): 32}
T5 = {"flux": "text_encoder_2", "sd3": "text_encoder_3"}
T5_LAYER = (*(f"layer.0.SelfAttention.{leaf}" for leaf in "qkvo"), *(f"layer.1.DenseReluDense.{leaf}" for leaf in ("wi_0", "wi_1", "wo")))


@cache
def denoiser(architecture: str) -> frozenset[str]:
    """Names of the network's linear layers and convolutions."""
    return frozenset(_unet(architecture) if architecture in DEPTHS else _transformer(architecture))


@cache
def encoders(architecture: str) -> dict[str, frozenset[str]]:
    """Text encoder -> names of its layers that adapters are made for."""
    return {part: frozenset(_encoder(architecture, part)) for part in ARCHITECTURES[architecture].encoders}


def _unet(architecture: str) -> Iterator[str]:
    downs, middle, ups = DEPTHS[architecture]
    for way, depths, num_layers in (("down", downs, 2), ("up", ups, 3)):
        for index, depth in enumerate(depths):
            for layer in range(num_layers):
                yield from (f"{way}_blocks.{index}.resnets.{layer}.{leaf}" for leaf in RESIDUAL)
                yield from _attention(f"{way}_blocks.{index}.attentions.{layer}", depth=depth)
            if index < len(depths) - 1:
                yield f"{way}_blocks.{index}.{way}samplers.0.conv"
    yield from (f"mid_block.resnets.{layer}.{leaf}" for layer in range(2) for leaf in RESIDUAL)
    yield from _attention("mid_block.attentions.0", depth=middle)
    yield from (name for name in UNET_OUTSIDE.values() if "norm" not in name and ("add_" not in name or architecture == "sdxl"))


def _attention(name: str, *, depth: int) -> Iterator[str]:
    if depth:
        yield from (f"{name}.proj_in", f"{name}.proj_out")
    yield from (f"{name}.transformer_blocks.{layer}.{leaf}" for layer in range(depth) for leaf in TRANSFORMER_LAYER)


def _transformer(architecture: str) -> Iterator[str]:
    for ours, leaves in TRANSFORMERS[architecture].values():
        heads = [f"{ours}.{index}." for index in range(COUNTS[architecture][ours])] if ours else [""]
        yield from (head + name for head in heads for names in leaves.values() for name in names)


def _encoder(architecture: str, part: str) -> Iterator[str]:
    if T5.get(architecture) == part:
        yield from (f"encoder.block.{index}.{leaf}" for index in range(24) for leaf in T5_LAYER)
    else:
        depth = CLIP_DEPTHS.get((architecture, part), 12)
        yield from (f"text_model.encoder.layers.{index}.{leaf}" for index in range(depth) for leaf in CLIP_LAYER)
