"""Which names ComfyUI's LoRA loader knows, for models of the published sizes.

A table of our own, after its public rules (`comfy/lora.py`, `comfy/utils.py`, `comfy/weight_adapter/`). What it does not
know it passes over with a line in its log. Forge loads by the same rules.
"""

from collections.abc import Iterable, Iterator
from functools import cache

from aquatint.export.architectures import ARCHITECTURES
from aquatint.export.native import BLOCKS, published_transformer, published_unet
from aquatint.export.published_sizes import T5, denoiser, encoders
from aquatint.export.spelling import divide, underscored

ITS_ENCODERS = {"text_encoder": ("lora_te_", "lora_te1_"), "text_encoder_2": ("lora_te2_",)}
GENERIC = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


def left_out(keys: Iterable[str], architecture: str) -> list[str]:
    """The keys of a file that it would not load."""
    known = layers(architecture)
    return [key for key in keys if not _is_known(key, known)]


@cache
def layers(architecture: str) -> frozenset[str]:
    """All its names of layers, without what follows them (`.lora_up.weight` and the like)."""
    kind = ARCHITECTURES[architecture].denoiser
    names = _of_unet(architecture) if kind == "unet" else _of_transformer(architecture)
    return frozenset([*names, *_of_encoders(architecture)])


def _is_known(key: str, known: frozenset[str]) -> bool:
    layer, role = divide(key)
    return bool(role) and layer in known and ".lora_magnitude_vector" not in key


def _of_unet(architecture: str) -> Iterator[str]:
    for name in denoiser(architecture):
        theirs = published_unet(name, BLOCKS[architecture])
        yield from (f"lora_unet_{underscored(name)}", f"lycoris_{underscored(name)}")
        yield from (f"lora_unet_{underscored(theirs or name)}", f"diffusion_model.{theirs}")
        processor = name.replace(".to_", ".processor.to_").removesuffix(".0" if name.endswith(".to_out.0") else " ")
        yield from (processor, f"unet.{processor}")


def _of_transformer(architecture: str) -> Iterator[str]:
    for name in denoiser(architecture):
        if found := published_transformer(name, architecture):
            yield from (f"lora_unet_{underscored(found[0])}", f"diffusion_model.{found[0]}")
        yield from (f"transformer.{name}", f"lora_transformer_{underscored(name)}", f"lycoris_{underscored(name)}")
        yield name if architecture == "flux" else f"base_model.model.{name}"


def _of_encoders(architecture: str) -> Iterator[str]:
    for part, names in encoders(architecture).items():
        is_t5 = T5.get(architecture) == part
        prefixes = (("lora_te2_", "lora_te3_") if architecture == "flux" else ("lora_te3_",)) if is_t5 else ITS_ENCODERS[part]
        yield from (prefix + underscored(name) for prefix in prefixes for name in names)
        yield from (f"text_encoders.{'t5xxl' if is_t5 else _generic(architecture, part)}.transformer.{name}" for name in names)
        if not is_t5:
            yield from (f"{part}.{name}" for name in names)


def _generic(architecture: str, part: str) -> str:
    return "clip_h" if architecture == "sd2" else GENERIC[part]
