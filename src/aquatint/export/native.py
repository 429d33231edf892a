"""Names of layers in the checkpoints that the architectures were published in, and in diffusers.

Tables and one numbering rule, written from the two sides' public configurations. Kohya's scripts, ComfyUI and A1111 name
layers as the published checkpoints do. Where those keep several layers of diffusers as one matrix, one name stands for all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Leaves = Mapping[str, tuple[str, ...]]
"""Published name -> names in diffusers, in the order in which their outputs are stacked."""

RESNET = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2", "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}  # fmt: skip
UNET_OUTSIDE = {
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out", "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2", "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
}  # fmt: skip
MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}


def _stream(published: str, *, block: str, context: str = "") -> dict[str, tuple[str, ...]]:
    """One of the two streams of a FLUX block."""
    qkv = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj") if context else ("attn.to_q", "attn.to_k", "attn.to_v")
    return {
        f"{published}_attn.qkv": qkv, f"{published}_attn.proj": (f"attn.{block}",), f"{published}_mod.lin": (f"norm1{context}.linear",),
        f"{published}_mlp.0": (f"ff{context}.net.0.proj",), f"{published}_mlp.2": (f"ff{context}.net.2",),
    }  # fmt: skip


def _joint(published: str, *, block: str, context: str = "") -> dict[str, tuple[str, ...]]:
    """One of the two streams of a Stable Diffusion 3 block."""
    qkv = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj") if context else ("attn.to_q", "attn.to_k", "attn.to_v")
    return {
        f"{published}.attn.qkv": qkv, f"{published}.attn.proj": (f"attn.{block}",),
        f"{published}.adaLN_modulation.1": (f"norm1{context}.linear",),
        f"{published}.mlp.fc1": (f"ff{context}.net.0.proj",), f"{published}.mlp.fc2": (f"ff{context}.net.2",),
    }  # fmt: skip


def _embedder(published: tuple[str, str], name: str) -> dict[str, tuple[str, ...]]:
    return {place: (f"time_text_embed.{name}.linear_{number}",) for number, place in enumerate(published, 1)}


FINAL = {"final_layer.linear": ("proj_out",), "final_layer.adaLN_modulation.1": ("norm_out.linear",)}
TRANSFORMERS: Mapping[str, Mapping[str, tuple[str, Leaves]]] = {
    "flux": {
        "double_blocks": ("transformer_blocks", _stream("img", block="to_out.0") | _stream("txt", block="to_add_out", context="_context")),
        "single_blocks": ("single_transformer_blocks", {
            "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), "linear2": ("proj_out",), "modulation.lin": ("norm.linear",),
        }),
        "": ("", {
            "img_in": ("x_embedder",), "txt_in": ("context_embedder",), **FINAL,
            **_embedder(("time_in.in_layer", "time_in.out_layer"), "timestep_embedder"),
            **_embedder(("vector_in.in_layer", "vector_in.out_layer"), "text_embedder"),
            **_embedder(("guidance_in.in_layer", "guidance_in.out_layer"), "guidance_embedder"),
        }),
    },
    "sd3": {
        "joint_blocks": ("transformer_blocks", {
            **_joint("x_block", block="to_out.0"), **_joint("context_block", block="to_add_out", context="_context"),
            "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"), "x_block.attn2.proj": ("attn2.to_out.0",),
        }),
        "": ("", {
            "x_embedder.proj": ("pos_embed.proj",), "context_embedder": ("context_embedder",), **FINAL,
            **_embedder(("t_embedder.mlp.0", "t_embedder.mlp.2"), "timestep_embedder"),
            **_embedder(("y_embedder.mlp.0", "y_embedder.mlp.2"), "text_embedder"),
        }),
    },
}  # fmt: skip
"""Architecture -> how blocks begin in the published checkpoint -> how they begin in diffusers, and what is in them."""
BLOCK = re.compile(r"(?P<blocks>\w+_blocks)\.(?P<index>\d+)\.(?P<leaf>.+)")


@dataclass(frozen=True)
class Blocks:
    """What the numbering of a U-Net's blocks depends on."""

    layers: int = 2
    """Residual layers of a block on the way down; there is one more on the way up."""
    attentive_ups: frozenset[int] = frozenset({1, 2, 3})
    """Blocks on the way up that have attention; their upsampler comes third instead of second."""

    @classmethod
    def of(cls, layers_per_block: int, up_block_types: Sequence[str]) -> "Blocks":
        """From a diffusers configuration."""
        return cls(layers_per_block, frozenset(i for i, kind in enumerate(up_block_types) if "CrossAttn" in kind))


BLOCKS = {"sd1": Blocks(), "sd2": Blocks(), "sdxl": Blocks(attentive_ups=frozenset({0, 1}))}


def published_unet(name: str, blocks: Blocks) -> str | None:
    """Name in diffusers -> in the published checkpoint."""
    outside = {ours: theirs for theirs, ours in UNET_OUTSIDE.items()}
    if name in outside:
        return outside[name]
    size = blocks.layers + 1
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        way, index, kind, layer, leaf = match.groups()
        number = int(index) * size + int(layer) + (way == "down")
        return f"{'in' if way == 'down' else 'out'}put_blocks.{number}.{int(kind == 'attentions')}.{_published_leaf(kind, leaf)}"
    if match := re.fullmatch(r"mid_block\.((resnets|attentions)\.\d)\.(.+)", name):
        place = {ours: theirs for theirs, ours in MIDDLE.items()}.get(match[1])
        return f"middle_block.{place}.{_published_leaf(match[2], match[3])}" if place else None
    if match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", name):
        return f"input_blocks.{(int(match[1]) + 1) * size}.0.op"
    if match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", name):
        index = int(match[1])
        return f"output_blocks.{index * size + blocks.layers}.{2 if index in blocks.attentive_ups else 1}.conv"
    return None


def diffusers_unet(published: str, blocks: Blocks) -> str | None:
    """The other way."""
    if published in UNET_OUTSIDE:
        return UNET_OUTSIDE[published]
    size = blocks.layers + 1
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)", published):
        return f"mid_block.{MIDDLE[match[1]]}.{RESNET.get(match[2], match[2])}"
    if match := re.fullmatch(r"output_blocks\.(\d+)\.[12]\.conv", published):
        return f"up_blocks.{int(match[1]) // size}.upsamplers.0.conv"
    if match := re.fullmatch(r"input_blocks\.(\d+)\.0\.op", published):
        return f"down_blocks.{int(match[1]) // size - 1}.downsamplers.0.conv"
    if match := re.fullmatch(r"(in|out)put_blocks\.(\d+)\.([01])\.(.+)", published):
        way, number = match[1], int(match[2]) - (match[1] == "in")
        kind, place = ("resnets", "attentions")[int(match[3])], f"{number // size}"
        return f"{'down' if way == 'in' else 'up'}_blocks.{place}.{kind}.{number % size}.{RESNET.get(match[4], match[4])}"
    return None


def published_transformer(name: str, architecture: str) -> tuple[str, tuple[str, ...]] | None:
    """Name in diffusers -> in the published checkpoint, and all the names in diffusers that it stands for."""
    for theirs, (ours, leaves) in TRANSFORMERS[architecture].items():
        head, leaf = _head(name, ours)
        for published, names in leaves.items():
            if leaf in names:
                return head.replace(ours, theirs, 1) + published, tuple(head + other for other in names)
    return None


def diffusers_transformer(published: str, architecture: str) -> tuple[str, ...] | None:
    """Name in the published checkpoint -> the names in diffusers that it stands for."""
    for theirs, (ours, leaves) in TRANSFORMERS[architecture].items():
        head, leaf = _head(published, theirs)
        if leaf in leaves:
            return tuple(head.replace(theirs, ours, 1) + name for name in leaves[leaf])
    return None


def is_published(name: str) -> str | None:
    """The architecture of transformer whose checkpoint has such names, `unet` for a U-Net's; None for diffusers' own."""
    if re.match(r"(input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\.", name):
        return "unet"
    for architecture, tables in TRANSFORMERS.items():
        if any(theirs and name.startswith(f"{theirs}.") for theirs in tables):
            return architecture
    ours = {name for _, names in TRANSFORMERS["flux"][""][1].items() for name in names}
    return next((a for a, tables in TRANSFORMERS.items() if name in tables[""][1] and name not in ours), None)


def has_swapped_halves(name: str, *, num_outputs: int, num_inputs: int) -> bool:
    """Whether diffusers keeps scale before shift where the published checkpoint keeps shift before scale.

    So it is in the last modulation, and in that of the context where the last block of Stable Diffusion 3 drops it.
    """
    return name == "norm_out.linear" or (name.endswith(".norm1_context.linear") and num_outputs == 2 * num_inputs)


def _published_leaf(kind: str, leaf: str) -> str:
    return {ours: theirs for theirs, ours in RESNET.items()}.get(leaf, leaf) if kind == "resnets" else leaf


def _head(name: str, blocks: str) -> tuple[str, str]:
    """`transformer_blocks.3.` and the rest, if the name begins with such blocks; nothing and the name if none are asked for."""
    if not blocks:
        return "", name
    match = BLOCK.fullmatch(name)
    return (f"{blocks}.{match['index']}.", match["leaf"]) if match and match["blocks"] == blocks else ("", "")
