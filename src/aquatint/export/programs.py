"""Which programs load an adapter file, whole, as it is."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from aquatint.export import comfy
from aquatint.export.adapter import Adapter
from aquatint.export.architectures import ARCHITECTURES, title_of
from aquatint.export.native import BLOCKS, published_unet
from aquatint.export.published_sizes import denoiser, encoders
from aquatint.export.spelling import divide, underscored

OTHERS = ("ComfyUI", "A1111", "Forge")
KNOWN = {"A1111": ("sd1", "sd2", "sdxl"), "Forge": ("sd1", "sd2", "sdxl", "flux")}
"""Whose LoRA these two are known to load."""


@dataclass(frozen=True)
class Verdict:
    program: str
    is_loaded: bool
    reason: str = ""
    """Why not."""


def verdicts(adapter: Adapter, keys: Collection[str]) -> Iterator[Verdict]:
    """`keys`: the names in the file."""
    architecture = adapter.architecture
    if architecture is None:
        unknown = [Verdict(program, False, f"it is for {title_of(None)}") for program in ("diffusers", *OTHERS)]
        yield from [_diffusers(adapter, keys), *unknown[1:]] if adapter.others else unknown
        return
    yield _diffusers(adapter, keys)
    if odd := [name for name in adapter.layers if not _is_published(name, architecture)]:
        reason = f"it loads models of the published sizes, and no {title_of(architecture)} has a layer {odd[0]}"
        yield from (Verdict(program, False, reason) for program in OTHERS)
        return
    by_comfy = _verdict("ComfyUI", comfy.left_out(keys, architecture), keys=keys)
    yield by_comfy
    yield _of_its_models("A1111", architecture) or _verdict("A1111", left_out_by_a1111(keys, architecture), keys=keys)
    yield _of_its_models("Forge", architecture) or Verdict("Forge", by_comfy.is_loaded, by_comfy.reason)


def _is_published(layer: str, architecture: str) -> bool:
    part, _, name = layer.partition(".")
    return name in encoders(architecture).get(part, denoiser(architecture))


def left_out_by_a1111(keys: Collection[str], architecture: str) -> list[str]:
    """Those that its loader does not match to a layer, after its public rules (`extensions-builtin/Lora/networks.py`)."""
    known = _of_a1111(architecture)
    return [key for key in keys if divide(key)[0] not in known]


@cache
def _of_a1111(architecture: str) -> frozenset[str]:
    names = [f"lora_unet_{underscored(name)}" for name in denoiser(architecture)]
    names += [f"lora_unet_{underscored(published_unet(name, BLOCKS[architecture]) or name)}" for name in denoiser(architecture)]
    for part, layers in encoders(architecture).items():
        names += [f"{ARCHITECTURES[architecture].encoders[part]}_{underscored(layer)}" for layer in layers]
    return frozenset(names)


def _diffusers(adapter: Adapter, keys: Collection[str]) -> Verdict:
    """It converts what it knows by its loaders' own rules, and refuses or leaves out the rest."""
    if adapter.others:
        return Verdict("diffusers", False, f"its loaders read LoRA, and this is {', '.join(adapter.kinds)}")
    if adapter.unknown:
        return Verdict("diffusers", False, f"{len(adapter.unknown)} keys belong to no layer, first {adapter.unknown[0]}")
    if adapter.spelling == "kohya":
        return _kohya_in_diffusers(adapter, keys)
    if adapter.spelling == "comfyui":
        is_read = adapter.architecture == "flux" and any(".lora_down." in key for key in keys)
        return Verdict("diffusers", is_read, "" if is_read else "it has no converter for ComfyUI's names of this architecture")
    if bare := [key for key in keys if not key.startswith(("unet.", "transformer.", "text_encoder"))]:
        return Verdict("diffusers", False, f"its pipelines look for the part in front of each name, and {bare[0]} has none")
    if alphas := [key for key in keys if key.endswith(".alpha")]:
        return Verdict("diffusers", False, f"it refuses alpha beside its own names, such as {alphas[0]}")
    return Verdict("diffusers", True)


def _kohya_in_diffusers(adapter: Adapter, keys: Collection[str]) -> Verdict:
    if adapter.architecture not in ("sd1", "sd2", "sdxl", "flux"):
        return Verdict("diffusers", False, f"it has no converter for kohya's names of {title_of(adapter.architecture)}")
    published = any(key.startswith(("lora_unet_input_blocks_", "lora_unet_middle_", "lora_unet_output_")) for key in keys)
    if published and adapter.architecture != "sdxl":
        return Verdict("diffusers", False, "it numbers the blocks of published names for SDXL alone")
    if adapter.is_dora:
        return Verdict("diffusers", False, "it leaves DoRA's magnitudes out of files with kohya's names, and the result is another")
    parts = {name.partition(".")[0] for name in adapter.layers}
    alphas = [{f.scale * f.rank for name, f in adapter.layers.items() if name.startswith(f"{part}.")} for part in parts]
    if adapter.architecture != "flux" and any(len(values) > 1 for values in alphas):
        return Verdict("diffusers", False, "it mixes up the alphas of layers where they differ; aquatint convert gives all the same")
    outside = [name for name in adapter.layers if name.startswith("transformer.") and "_blocks." not in name]
    if outside:
        return Verdict("diffusers", False, f"its converter loses {len(outside)} layers outside the blocks, first {outside[0]}")
    return Verdict("diffusers", True)


def _of_its_models(program: str, architecture: str) -> Verdict | None:
    reason = f"LoRA for {title_of(architecture)} is not known to work there"
    return None if architecture in KNOWN[program] else Verdict(program, False, reason)


def _verdict(program: str, left_out: Collection[str], *, keys: Collection[str]) -> Verdict:
    first = next(iter(left_out), "")
    reason = f"it does not know {len(left_out)} of {len(keys)} names, first {first}" if left_out else ""
    return Verdict(program, not left_out, reason)
