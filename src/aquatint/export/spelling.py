"""How files spell the name of a tensor: whose layer it is, and what it is of that layer.

Four ways are in use: diffusers' (`unet.….lora_A.weight`, and two older ones), PEFT's (`base_model.model.…`), kohya's
(`lora_unet_…`, dots turned into underscores), and ComfyUI's (`diffusion_model.…`).
"""

import re
from dataclasses import dataclass

ROLES = {
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_A.default.weight": "down", ".lora_B.default.weight": "up",
    ".lora_A": "down", ".lora_B": "up", ".lora_down.weight": "down", ".lora_up.weight": "up", ".lora_mid.weight": "mid",
    ".lora.down.weight": "down", ".lora.up.weight": "up", "_lora.down.weight": "down", "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up", ".alpha": "alpha", ".dora_scale": "magnitude",
    ".lora_magnitude_vector": "magnitude", ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
}  # fmt: skip
KINDS = {
    r"\.hada_[wt]\d.*": "LoHa", r"\.lokr_[wt]\d.*": "LoKr", r"\.oft_(blocks|diag|r|R).*": "OFT", r"\.[ab][12]\.weight": "GLoRA",
    r"\.(diff|diff_b|w_norm|b_norm|set_weight)": "difference", r"\.(on_input|ia3_l.*)": "IA3", r"\.boft_.*": "BOFT", r"\.vera_.*": "VeRA",
    r"\.(lora_B|lora_up)\.bias": "LoRA with bias",
}  # fmt: skip
"""How the names of other kinds of adapters end."""
WORDS = (
    "down_blocks mid_block up_blocks input_blocks middle_block output_blocks transformer_blocks single_transformer_blocks to_q to_k to_v "
    "to_out to_add_out add_q_proj add_k_proj add_v_proj proj_in proj_out proj_mlp conv_in conv_out conv_norm_out conv_shortcut "
    "time_emb_proj time_embedding add_embedding class_embedding linear_1 linear_2 in_layers out_layers emb_layers skip_connection "
    "time_embed label_emb ff_context norm1_context norm_out x_embedder context_embedder time_text_embed timestep_embedder text_embedder "
    "guidance_embedder pos_embed double_blocks single_blocks joint_blocks img_attn txt_attn img_mlp txt_mlp img_mod txt_mod img_in txt_in "
    "time_in vector_in guidance_in in_layer out_layer final_layer adaLN_modulation x_block context_block t_embedder y_embedder "
    "text_model self_attn q_proj k_proj v_proj out_proj wi_0 wi_1 text_projection"
)
COMPOUNDS = frozenset(WORDS.split())
"""Parts of a name that hold underscores of their own."""
LONGEST = max(name.count("_") for name in COMPOUNDS) + 1
OLD_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""Of text encoders, in the files of early versions of diffusers."""
ENCODERS = {"clip_l": "text_encoder", "clip_h": "text_encoder", "clip_g": "text_encoder_2", "t5xxl": "t5"}
UNDERSCORED = {
    "lora_unet_": "denoiser", "lora_transformer_": "transformer", "lora_te_": "text_encoder", "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2", "lora_te3_": "t5",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    layer: str
    """Part and module, dotted: `unet.mid_block.…`; `denoiser.…` and `t5.…` where the file does not say which part that is."""
    role: str
    """`down`, `up`, `mid`, `alpha` or `magnitude`; or the kind of another adapter."""
    spelling: str


def parse(key: str) -> Key | None:
    """None for a name that no rule knows."""
    base, role = divide(key)
    if not role:
        return None
    for prefix, part in UNDERSCORED.items():
        if base.startswith(prefix):
            name = dotted(base.removeprefix(prefix))
            is_t5 = part.startswith("text_encoder") and name.startswith("encoder.block.")
            return Key(f"{'t5' if is_t5 else part}.{name}", role, "kohya")
    if match := re.fullmatch(r"text_encoders\.(\w+)\.transformer\.(.+)", base):
        return Key(f"{ENCODERS[match[1]]}.{match[2]}", role, "comfyui") if match[1] in ENCODERS else None
    if base.startswith("diffusion_model."):
        return Key(f"denoiser.{base.removeprefix('diffusion_model.')}", role, "comfyui")
    match = re.fullmatch(r"(?:(?P<part>unet|transformer|text_encoder(?:_\d)?)\.)?(?P<peft>base_model\.model\.)?(?P<name>.+)", base)
    if not match:
        return None
    name = _modern(match["name"])
    part = match["part"] or _part(name)
    return Key(f"{part}.{_complete(name, part)}", role, "peft" if match["peft"] else "diffusers") if part else None


def dotted(underscored: str) -> str:
    """`mid_block_attentions_0_proj_in` -> `mid_block.attentions.0.proj_in`: the longest known compound wins."""
    words, names = underscored.split("_"), []
    while words:
        size = next((n for n in range(min(LONGEST, len(words)), 1, -1) if "_".join(words[:n]) in COMPOUNDS), 1)
        names.append("_".join(words[:size]))
        words = words[size:]
    return ".".join(names)


def underscored(name: str) -> str:
    return name.replace(".", "_")


def divide(key: str) -> tuple[str, str]:
    """The layer's name as the file spells it, and what the tensor is of it."""
    for ending in sorted(ROLES, key=len, reverse=True):
        if key.endswith(ending):
            return key.removesuffix(ending), ROLES[ending]
    for pattern, kind in KINDS.items():
        if match := re.search(pattern + "$", key):
            return key[: match.start()], kind
    return key, ""


def _modern(name: str) -> str:
    """Without the detours of early versions of diffusers: `attn1.processor.to_out` was `attn1.to_out.0`."""
    if match := re.fullmatch(r"(.+)\.processor\.(to_\w+)", name):
        return f"{match[1]}.{match[2]}{'.0' if match[2] == 'to_out' else ''}"
    if match := re.fullmatch(r"(.+\.self_attn)\.(to_\w+)", name):
        return f"{match[1]}.{OLD_ATTENTION.get(match[2], match[2])}"
    return name


def _part(name: str) -> str:
    """Of a name without one."""
    if name.startswith(("down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.", "conv_in", "conv_out")):
        return "unet"
    if name.startswith(("text_model.", "encoder.layers.")):
        return "text_encoder"
    outside = ("x_embedder", "context_embedder", "time_text_embed.", "norm_out.", "proj_out")
    if name.startswith(("transformer_blocks.", "single_transformer_blocks.", *outside)):
        return "transformer"
    return "denoiser" if re.match(r"(input|output|double|single|joint)_blocks\.|middle_block\.", name) else ""


def _complete(name: str, part: str) -> str:
    """CLIP's text model lost a level of its names in transformers 5.6; here they have it."""
    return f"text_model.{name}" if part.startswith("text_encoder") and name.startswith(("encoder.layers.", "final_layer_norm.")) else name
