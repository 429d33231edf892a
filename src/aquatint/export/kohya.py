"""Files as kohya's scripts write them, which ComfyUI, A1111 and Forge load: `lora_unet_….lora_down.weight`, alpha beside each layer.

U-Nets of Stable Diffusion 1 and 2 keep diffusers' names there; those of SDXL, and the transformers, have the published ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from aquatint.errors import BadFile
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.architectures import ARCHITECTURES, title_of
from aquatint.export.fusion import fuse, widths_of
from aquatint.export.modelspec import describe
from aquatint.export.native import BLOCKS, Blocks, has_swapped_halves, published_transformer, published_unet
from aquatint.export.reading import from_tensors, swapped
from aquatint.export.spelling import underscored
from aquatint.export.tensors import write_tensors


def spelled(adapter: Adapter, *, blocks: Blocks | None = None) -> dict[str, Tensor]:
    """All tensors of the file. Raises `BadFile` for adapters that have no such form."""
    layers = published(adapter, blocks=blocks)
    alphas = {factors.scale * factors.rank for factors in layers.values()}
    if len(alphas) > 1 and ARCHITECTURES[adapter.architecture or ""].denoiser == "unet":  # diffusers mixes up alphas that differ
        layers = {name: factors.with_alpha(float(max(f.rank for f in layers.values()))) for name, factors in layers.items()}
    named: dict[str, Tensor] = {}
    for name, factors in layers.items():
        named[f"{name}.lora_down.weight"] = factors.down
        named[f"{name}.lora_up.weight"] = factors.up
        named[f"{name}.alpha"] = torch.tensor(float(factors.rank) if factors.alpha is None else factors.alpha)
        if factors.magnitude is not None:
            named[f"{name}.dora_scale"] = factors.magnitude.view(-1, *[1] * (factors.down.ndim - 1))
    return named


def published(adapter: Adapter, *, blocks: Blocks | None = None) -> dict[str, Factors]:
    """Kohya's name of a layer -> its update; layers that are one matrix there are fused."""
    architecture = adapter.architecture
    if architecture is None or adapter.others or not adapter.layers:
        what = f"{', '.join(adapter.kinds)} for {title_of(architecture)}"
        raise BadFile(f"this adapter ({what}) has no form in kohya's names; LoRA for {', '.join(ARCHITECTURES)} has")
    named: dict[str, Factors] = {}
    fused: dict[str, dict[str, Factors]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for layer, factors in adapter.layers.items():
        part, _, name = layer.partition(".")
        if part in ARCHITECTURES[architecture].encoders:
            named[f"{ARCHITECTURES[architecture].encoders[part]}_{underscored(name)}"] = factors
        elif part == "unet":
            named[f"lora_unet_{underscored(_unet_name(name, architecture, blocks=blocks))}"] = factors
        else:
            theirs, all_of_them = _transformer_names(name, architecture)
            names[theirs] = all_of_them
            fused.setdefault(theirs, {})[name] = factors
    for theirs, parts in fused.items():
        named[f"lora_unet_{underscored(theirs)}"] = _whole([parts.get(name) for name in names[theirs]], names[theirs])
    return named


def write_beside(
    path: Path, tensors: Mapping[str, Tensor], *, facts: Mapping[str, str], architecture: str | None = None, blocks: Blocks | None = None
) -> Path:
    """`name_kohya.safetensors` beside the file of diffusers' `tensors` at `path`, with `facts` in its metadata; replaced if it is there."""
    adapter = from_tensors(tensors.items(), facts, source=str(path), blocks=blocks)
    if architecture and adapter.architecture != architecture:
        adapter = replace(adapter, architecture=architecture)
    out = path.with_name(f"{path.stem}_kohya.safetensors")
    write(adapter, out, facts=facts, blocks=blocks)
    return out


def write(adapter: Adapter, out: Path, *, facts: Mapping[str, str], blocks: Blocks | None = None) -> None:
    """The file, with the metadata by which programs tell what it is."""
    named = spelled(adapter, blocks=blocks)
    write_tensors(named, out, metadata=describe(adapter, named, facts=facts))


def _unet_name(name: str, architecture: str, *, blocks: Blocks | None) -> str:
    theirs = published_unet(name, blocks or BLOCKS[architecture]) if architecture == "sdxl" else name
    if theirs is None:
        raise BadFile(f"unet.{name}: the U-Net of {title_of(architecture)} has no such layer")
    return theirs


def _transformer_names(name: str, architecture: str) -> tuple[str, tuple[str, ...]]:
    found = published_transformer(name, architecture)
    if found is None:
        raise BadFile(f"transformer.{name}: the transformer of {title_of(architecture)} has no such layer")
    return found


def _whole(parts: list[Factors | None], names: tuple[str, ...]) -> Factors:
    first = next(part for part in parts if part is not None)
    num_inputs, num_outputs = first.down.shape[1], first.up.shape[0]
    if len(parts) > 1:
        return fuse(parts, widths=widths_of(names, num_inputs=num_inputs), name=names[0])
    return swapped(first) if has_swapped_halves(names[0], num_outputs=num_outputs, num_inputs=num_inputs) else first

