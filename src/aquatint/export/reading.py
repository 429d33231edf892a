"""Any LoRA file to the plain form: diffusers' names, PEFT's, kohya's or ComfyUI's; alpha, DoRA and LoCon's middle factor."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aquatint.errors import BadFile, why
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.architectures import recognise
from aquatint.export.fusion import split, widths_of
from aquatint.export.native import BLOCKS, Blocks, diffusers_transformer, diffusers_unet, has_swapped_halves, is_published
from aquatint.export.opening import header, is_finite, tensors
from aquatint.export.published_sizes import denoiser
from aquatint.export.spelling import ROLES, parse

UNET = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|(time|add|class)_embedding)(\.|$)")
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def read(path: str | Path, *, blocks: Blocks | None = None) -> Adapter:
    """A file, or a folder as PEFT saves it. Raises `BadFile` for what is none, is broken, or holds numbers that are not finite."""
    path = Path(path).expanduser()
    if (path / PEFT_FILE).is_file():
        path = path / PEFT_FILE
    metadata = header(path).metadata
    beside = path.with_name(PEFT_CONFIG)
    if path.name == PEFT_FILE and beside.is_file():
        metadata = {"lora_adapter_metadata": _peft_config(beside), **metadata}
    return from_tensors(tensors(path), metadata, source=str(path), blocks=blocks)


def from_tensors(
    named: Iterable[tuple[str, Tensor]], metadata: Mapping[str, str], *, source: str = "the adapter", blocks: Blocks | None = None
) -> Adapter:
    """Names and tensors as a file has them -> the plain form. `blocks` numbers a U-Net that is not of a published size."""
    groups: dict[str, dict[str, Tensor]] = {}
    others: dict[str, str] = {}
    unknown: list[str] = []
    spellings: list[str] = []
    for name, tensor in named:
        key = parse(name)
        if not is_finite(tensor):
            raise BadFile(f"{source}: {name} holds numbers that are not finite; the file is broken and no program can use it")
        if key is None:
            unknown.append(name)
            continue
        spellings.append(key.spelling)
        if key.role not in ROLES.values():
            others[key.layer] = key.role
        elif key.role in groups.setdefault(key.layer, {}):
            raise BadFile(f"{source}: {name} says again what another name of the same layer says")
        else:
            groups[key.layer][key.role] = tensor
    factors = {layer: _factors(group, f"{source}: {layer}") for layer, group in groups.items() if layer not in others}
    if not factors and not others:
        raise BadFile(f"{source}: this is no adapter: of {len(unknown)} tensors none is a factor of a layer, first {unknown[:1]}")
    layers = _as_diffusers(factors, metadata, blocks=blocks)
    found = recognise({name: (f.down.shape[1], f.up.shape[0]) for name, f in layers.items()}, metadata)
    found = found if found and all(_belongs(name, found) for name in layers) else None
    spelling = max(sorted(set(spellings)), key=spellings.count)
    layers = {name: _with_alpha(f, name, metadata=metadata) for name, f in layers.items()}
    return Adapter(layers, found, spelling, dict(metadata), others, tuple(unknown))


def _belongs(layer: str, architecture: str) -> bool:
    """Whether it may be of that architecture: others have blocks of the same names, but more of them, or further layers in them."""
    part, _, name = layer.partition(".")
    if part == "transformer":
        return name in denoiser(architecture)
    return part != "unet" or bool(UNET.match(name))


def _factors(group: Mapping[str, Tensor], where: str) -> Factors:
    """The tensors of one layer. Raises `BadFile` where they do not fit together."""
    if missing := [role for role in ("down", "up") if role not in group]:
        raise BadFile(f"{where}: there is no `{missing[0]}` factor beside {', '.join(sorted(group))}; the file is not whole")
    down, up, mid, alpha = group["down"], group["up"], group.get("mid"), group.get("alpha")
    if not (down.is_floating_point() and up.is_floating_point()):
        raise BadFile(f"{where}: its factors are {down.dtype}, not floating-point numbers; quantised adapters are not read")
    if down.ndim < 2 or up.ndim < 2 or up.shape[1] != down.shape[0] or up.shape[2:].numel() > 1 or not down.numel() * up.numel():
        raise BadFile(f"{where}: factors of shapes {list(up.shape)} and {list(down.shape)} cannot be multiplied")
    if mid is not None:
        if mid.shape[:2] != (up.shape[1], down.shape[0]) or down.shape[2:].numel() != 1:
            raise BadFile(f"{where}: a middle factor of shape {list(mid.shape)} does not fit between the others")
        down = torch.einsum("ijhw,jc->ichw", mid.double(), down.flatten(1).double()).to(mid.dtype)
    if down.ndim == 4 and up.ndim == 2:
        up = up[..., None, None]
    if alpha is not None and alpha.numel() != 1:
        raise BadFile(f"{where}: its alpha is {list(alpha.shape)} numbers instead of one")
    magnitude = group.get("magnitude")
    if magnitude is not None and magnitude.numel() != up.shape[0]:
        raise BadFile(f"{where}: {magnitude.numel()} magnitudes for {up.shape[0]} outputs")
    return Factors(down, up, None if alpha is None else float(alpha), None if magnitude is None else magnitude.flatten())


def _as_diffusers(factors: Mapping[str, Factors], metadata: Mapping[str, str], *, blocks: Blocks | None) -> dict[str, Factors]:
    """Parts that the file leaves open, and published names, as diffusers has them."""
    named: dict[str, Factors] = {}
    for layer, update in factors.items():
        part, _, name = layer.partition(".")
        renamed = _denoiser(name, update, blocks=blocks) if part == "denoiser" else {layer: update}
        if twice := sorted(renamed.keys() & named.keys()):
            raise BadFile(f"{twice[0]}: the file holds two updates of this layer, under different names")
        named |= renamed
    found = recognise({name: (f.down.shape[1], f.up.shape[0]) for name, f in named.items() if not name.startswith("t5.")}, metadata)
    t5 = "text_encoder_3" if found == "sd3" else "text_encoder_2"
    return {re.sub(r"^t5\.", f"{t5}.", name): update for name, update in named.items()}


def _denoiser(name: str, update: Factors, *, blocks: Blocks | None) -> dict[str, Factors]:
    published = is_published(name)
    if published == "unet":
        return {f"unet.{diffusers_unet(name, blocks or BLOCKS['sd1']) or name}": update}
    if published is None:
        return {f"{'unet' if UNET.match(name) else 'transformer'}.{name}": update}
    names = diffusers_transformer(name, published) or (name,)
    num_outputs, num_inputs = update.up.shape[0], update.down.shape[1]
    if len(names) > 1:
        parts = split(update, widths=widths_of(names, num_inputs=num_inputs, num_outputs=num_outputs))
        return {f"transformer.{n}": part for n, part in zip(names, parts, strict=True) if part is not None}
    if has_swapped_halves(names[0], num_outputs=num_outputs, num_inputs=num_inputs):
        update = swapped(update)
    return {f"transformer.{names[0]}": update}


def swapped(update: Factors) -> Factors:
    """With the two halves of the outputs in the other order."""
    return Factors(update.down, torch.cat(update.up.chunk(2)[::-1]), update.alpha, update.magnitude)


def _with_alpha(update: Factors, layer: str, *, metadata: Mapping[str, str]) -> Factors:
    """The alpha of a file that has it in its metadata, as diffusers and PEFT write it."""
    if update.alpha is not None or "lora_adapter_metadata" not in metadata:
        return update
    part, _, name = layer.partition(".")
    try:
        config = json.loads(metadata["lora_adapter_metadata"])
    except ValueError:
        return update
    said = {k.removeprefix(f"{part}."): v for k, v in config.items() if k.startswith(f"{part}.")} or config
    patterns = said.get("alpha_pattern") or {}
    alpha = next((v for k, v in patterns.items() if re.fullmatch(rf"(.*\.)?({k.removeprefix('^')})", name)), said.get("lora_alpha"))
    if not isinstance(alpha, int | float):
        return update
    alpha = alpha * math.sqrt(update.rank) if said.get("use_rslora") else alpha
    return Factors(update.down, update.up, float(alpha), update.magnitude)


def _peft_config(path: Path) -> str:
    """Raises `BadFile`: without it the scale of the adapter is not known."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps({name: content[name] for name in ("r", "lora_alpha", "alpha_pattern", "use_rslora") if name in content})
    except (OSError, ValueError, TypeError) as error:
        raise BadFile(f"{path}: cannot be read ({why(error)}), and it says how strong the adapter is") from error
