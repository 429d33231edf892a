"""Single files, with the weights named as the original code names them, made from diffusers' pipelines."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

UNET = [
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^time_embedding\.linear_1\.", "time_embed.0."),
    (r"^time_embedding\.linear_2\.", "time_embed.2."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^down_blocks\.(\d)\.resnets\.0\.", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.0."),
    (r"^down_blocks\.(\d)\.attentions\.0\.", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.1."),
    (r"^down_blocks\.(\d)\.downsamplers\.0\.conv\.", lambda m: f"input_blocks.{2 + 2 * int(m[1])}.0.op."),
    (r"^mid_block\.resnets\.(\d)\.", lambda m: f"middle_block.{2 * int(m[1])}."),
    (r"^mid_block\.attentions\.0\.", "middle_block.1."),
    (r"^up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.0."),
    (r"^up_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.1."),
    (r"^up_blocks\.0\.upsamplers\.0\.", "output_blocks.1.2."),
    (r"^add_embedding\.linear_(\d)\.", lambda m: f"label_emb.0.{2 * int(m[1]) - 2}."),
]
RESNET = [
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
]
VAE = [
    (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{1 - int(m[1])}.block."),
    (r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{1 - int(m[1])}.upsample."),
    (r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"mid_block\.attentions\.0\.to_", "mid.attn_1."),
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
]


MMDIT = [
    (r"^pos_embed\.pos_embed", "pos_embed"),
    (r"^pos_embed\.proj\.", "x_embedder.proj."),
    (r"^time_text_embed\.timestep_embedder\.linear_(\d)\.", lambda m: f"t_embedder.mlp.{2 * int(m[1]) - 2}."),
    (r"^time_text_embed\.text_embedder\.linear_(\d)\.", lambda m: f"y_embedder.mlp.{2 * int(m[1]) - 2}."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.", "joint_blocks."),
    (r"\.(norm1_context\.linear|ff_context\.net|attn\.(?:add|to_add|norm_added)_)", r".context_block.\1"),
    (r"\.(norm1\.linear|ff\.net|attn2?\.(?:to_[qkvo]|norm_[qk]))", r".x_block.\1"),
    (r"norm1(?:_context)?\.linear\.", "adaLN_modulation.1."),
    (r"ff(?:_context)?\.net\.0\.proj\.", "mlp.fc1."),
    (r"ff(?:_context)?\.net\.2\.", "mlp.fc2."),
    (r"\.norm_(?:added_)?([qk])\.", r".ln_\1."),
    (r"\.(?:to_out\.0|to_add_out)\.", ".proj."),
    (r"\.(?:to_([qkv])|add_([qkv])_proj)\.", lambda m: f".qkv/{m[1] or m[2]}."),
]
OPEN_CLIP = [
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^text_model\.embeddings\.", ""),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"layer_norm(\d)", r"ln_\1"),
    (r"\.fc1\.", ".c_fc."),
    (r"\.fc2\.", ".c_proj."),
    (r"\.self_attn\.([qkv])_proj\.(\w+)", r".attn.in_proj_\2/\1"),
    (r"\.self_attn\.", ".attn."),
]


def as_single_file(folder: Path) -> dict[str, torch.Tensor]:
    """Stable Diffusion 1."""
    unet, vae = (load_file(folder / part / "diffusion_pytorch_model.safetensors") for part in ("unet", "vae"))
    text = load_file(folder / "text_encoder" / "model.safetensors")
    inside = "cond_stage_model.transformer.text_model."
    return _unet(unet) | _autoencoder(vae) | {inside + name.removeprefix("text_model."): tensor for name, tensor in text.items()}


def sdxl(pipeline: Any) -> dict[str, torch.Tensor]:
    second = _fused({renamed(name, OPEN_CLIP): tensor for name, tensor in pipeline.text_encoder_2.state_dict().items()})
    second["text_projection"] = second.pop("text_projection.weight").T
    return {
        **_unet(pipeline.unet.state_dict()),
        **_autoencoder(pipeline.vae.state_dict()),
        **_below("conditioner.embedders.0.transformer.text_model.", pipeline.text_encoder),
        **{f"conditioner.embedders.1.model.{name}": tensor for name, tensor in second.items()},
    }


def sd3(pipeline: Any) -> dict[str, torch.Tensor]:
    weights = {renamed(name, MMDIT): tensor for name, tensor in pipeline.transformer.state_dict().items()}
    last = max(int(name.split(".")[1]) for name in weights if name.startswith("joint_blocks."))
    for name in weights:  # scale and shift are the other way round where nothing follows
        if name.startswith(("final_layer.adaLN", f"joint_blocks.{last}.context_block.adaLN")):
            weights[name] = torch.cat([*reversed(weights[name].chunk(2))])
    first = _below("text_encoders.clip_l.transformer.", pipeline.text_encoder)
    first.pop("text_encoders.clip_l.transformer.text_projection.weight")  # such files hold none: it is the identity
    third = _below("text_encoders.t5xxl.transformer.", pipeline.text_encoder_3)
    third.pop("text_encoders.t5xxl.transformer.encoder.embed_tokens.weight")  # the table, once more
    return {
        **{f"model.diffusion_model.{name}": tensor for name, tensor in _fused(weights).items()},
        **_autoencoder(pipeline.vae.state_dict()),
        **first,
        **_below("text_encoders.clip_g.transformer.", pipeline.text_encoder_2),
        **third,
    }


def _unet(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tables = {name: UNET + RESNET if ".resnets." in name else UNET for name in weights}
    return {f"model.diffusion_model.{renamed(name, tables[name])}": tensor for name, tensor in weights.items()}


def _autoencoder(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, tensor in weights.items():
        is_attention = re.search(r"attentions\.0\.to_.*weight", name)
        tensors[f"first_stage_model.{renamed(name, VAE)}"] = tensor[:, :, None, None] if is_attention else tensor
    return tensors


def _below(prefix: str, module: Any) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def _fused(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of queries, keys and values, which are named `…/q`, `…/k` and `…/v` within, as one."""
    fused = {}
    for name, tensor in weights.items():
        parts = re.fullmatch(r"(.*)/([qkv])(.*)", name)
        if parts is None:
            fused[name] = tensor
        elif parts[2] == "q":
            fused[parts[1] + parts[3]] = torch.cat([weights[f"{parts[1]}/{each}{parts[3]}"] for each in "qkv"])
    return fused


def renamed(name: str, table: list[tuple[str, Any]]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
