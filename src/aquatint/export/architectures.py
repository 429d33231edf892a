"""The architectures whose adapters are exchanged between programs: how each is recognised, and what others call it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Width = tuple[int, int]
"""Inputs and outputs of a layer."""


@dataclass(frozen=True)
class Architecture:
    title: str
    family: str
    """The file in `families/` that trains it."""
    denoiser: str
    """The pipeline's name of its network."""
    base_version: str
    """`ss_base_model_version`, by which A1111 and kohya's scripts tell models apart."""
    spec: str
    """`modelspec.architecture`, before `/lora`."""
    resolution_px: int
    encoders: Mapping[str, str]
    """Text encoder, as the pipeline names it -> as kohya's files begin."""


ONE_CLIP = {"text_encoder": "lora_te"}
ARCHITECTURES = {
    "sd1": Architecture("Stable Diffusion 1", "sd", "unet", "sd_v1", "stable-diffusion-v1", 512, ONE_CLIP),
    "sd2": Architecture("Stable Diffusion 2", "sd", "unet", "sd_v2", "stable-diffusion-v2-512", 512, ONE_CLIP),
    "sdxl": Architecture(
        "Stable Diffusion XL", "sdxl", "unet", "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", 1024,
        {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"},
    ),
    "sd3": Architecture(
        "Stable Diffusion 3", "sd3", "transformer", "sd3", "stable-diffusion-3", 1024,
        {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2", "text_encoder_3": "lora_te3"},
    ),
    "flux": Architecture(
        "FLUX.1", "flux", "transformer", "flux1", "flux-1-dev", 1024, {"text_encoder": "lora_te1", "text_encoder_2": "lora_te3"},
    ),
}  # fmt: skip
CONTEXT_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text that a published U-Net attends to."""
TRANSFORMER_WIDTHS = {1536: "sd3", 2432: "sd3", 3072: "flux"}
ENCODER_WIDTHS = {("text_encoder", 1024): "sd2", ("text_encoder_2", 1280): "sdxl", ("text_encoder_2", 4096): "flux"}
SAID = {
    "sd_v1": "sd1", "sd_v2": "sd2", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux", "stable-diffusion-v1": "sd1",
    "stable-diffusion-v2": "sd2", "stable-diffusion-xl": "sdxl", "stable-diffusion-3": "sd3",
}  # fmt: skip
"""How what metadata says begins; longer beginnings first where one begins another."""
TEXT = re.compile(r"text_encoder(_\d)?\.")


def recognise(layers: Mapping[str, Width], metadata: Mapping[str, str]) -> str | None:
    """By the network's widths, which do not lie; then by what the metadata says; then by the rest. None for another architecture."""
    denoisers = {name.partition(".")[0] for name in layers if not TEXT.match(name)}
    if len(denoisers) > 1:
        return None
    if not layers:
        return _said(metadata)
    kind = next(iter(denoisers), "")
    found = (kind and _by_width(layers, kind)) or _said(metadata) or (not kind and _by_encoders(layers)) or _by_names(layers, kind)
    return found if found and (not kind or ARCHITECTURES[found].denoiser == kind) else None


def family_of(architecture: str | None) -> str | None:
    return ARCHITECTURES[architecture].family if architecture else None


def of_family(family: str, *, context_width: int | None = None) -> str | None:
    """The architecture that a family's models have; the width of the text tells Stable Diffusion 1 and 2 apart. None for others."""
    if family == "sd" and CONTEXT_WIDTHS.get(context_width or 0) == "sd2":
        return "sd2"
    return next((name for name, known in ARCHITECTURES.items() if known.family == family), None)


def title_of(architecture: str | None) -> str:
    return ARCHITECTURES[architecture].title if architecture else "an architecture that is not known here"


def _by_width(layers: Mapping[str, Width], kind: str) -> str | None:
    if any(name.startswith("transformer.single_transformer_blocks.") for name in layers):
        return "flux"
    ends, widths = (".attn2.to_k", CONTEXT_WIDTHS) if kind == "unet" else (".attn.to_q", TRANSFORMER_WIDTHS)
    seen = {widths.get(inputs) for name, (inputs, _) in layers.items() if name.endswith(ends) and not TEXT.match(name)}
    return seen.pop() if len(seen) == 1 else None


def _by_encoders(layers: Mapping[str, Width]) -> str | None:
    """Several architectures share text encoders; the commonest of them."""
    if any(name.startswith("text_encoder_3.") for name in layers):
        return "sd3"
    ends = (".q_proj", ".out_proj", "SelfAttention.q")
    seen = {ENCODER_WIDTHS.get((name.partition(".")[0], inputs)) for name, (inputs, _) in layers.items() if name.endswith(ends)} - {None}
    return seen.pop() if len(seen) == 1 else None


def _said(metadata: Mapping[str, str]) -> str | None:
    for key in ("ss_base_model_version", "modelspec.architecture"):
        for beginning, architecture in SAID.items():
            if metadata.get(key, "").startswith(beginning):
                return architecture
    return None


def _by_names(layers: Collection[str], kind: str) -> str | None:
    if kind == "transformer":
        return "sd3" if any(".attn2." in name or ".pos_embed." in name for name in layers) else "flux"
    if any(re.search(r"attentions\.\d+\.to_", name) for name in layers):  # of a U-Net that reads no text
        return None
    is_deep = any(".add_embedding." in name or re.search(r"transformer_blocks\.[1-9]", name) for name in layers)
    has_second = any(name.startswith("text_encoder_2.") for name in layers)
    return "sdxl" if is_deep or has_second else "sd1"
