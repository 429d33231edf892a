"""An adapter written into a model's weights: a new diffusers folder that needs no adapter any more."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aquatint.atomic import replacing
from aquatint.errors import BadFile
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.architectures import title_of
from aquatint.export.opening import is_finite
from aquatint.export.weights import Weight, files_of, weights_of

Named = tuple[str, Adapter, float]
"""What an adapter is called, it, and its weight."""


def write(folder: Path, adapters: Sequence[Named], *, out: Path) -> int:
    """Copy a diffusers folder to `out` with every adapter added by its weight; returns how many layers changed.

    The base keeps its number format. Raises `BadFile` before anything is written when one does not fit.
    """
    if not (folder / "model_index.json").is_file():
        raise BadFile(f"base={folder}: adapters are merged into a diffusers folder, and this is none (no model_index.json); "
                      "load it with diffusers and call save_pretrained first")  # fmt: skip
    weights = weights_of(folder)
    for name, adapter, _ in adapters:
        check_fits(adapter, weights, name=name)
    changed = {f"{layer}.weight" for _, adapter, _ in adapters for layer in adapter.layers}
    parts = {layer.partition(".")[0] for layer in changed}
    places = {(weight.file, weight.name): layer for layer, weight in weights.items() if layer in changed}
    with replacing(out) as aside:
        shutil.copytree(folder, aside, ignore=lambda place, names: _left_out(Path(place), names, folder=folder, parts=parts))
        for part in parts:
            for file in files_of(folder, part):
                _write_file(file, aside / part / file.name, updates=adapters, places=places)
        (aside / "aquatint.json").write_text(json.dumps({"merged": [[name, weight] for name, _, weight in adapters]}, indent=1))
    return len(changed)


def check_fits(adapter: Adapter, weights: Mapping[str, Weight], *, name: str) -> None:
    """Raises `BadFile` for another kind of adapter, another architecture, or another size."""
    if adapter.others or not adapter.layers:
        raise BadFile(f"{name}: this adapter is {', '.join(adapter.kinds)}; only LoRA and DoRA are merged")
    missing = [layer for layer in adapter.layers if f"{layer}.weight" not in weights]
    if missing:
        raise BadFile(f"{name}: this adapter is for {title_of(adapter.architecture)}, and the base is another model: "
                      f"{len(missing)} of {len(adapter.layers)} layers are not in it, first {missing[0]}")  # fmt: skip
    for layer, factors in adapter.layers.items():
        shape = weights[f"{layer}.weight"].shape
        if torch.Size(shape).numel() != torch.Size(factors.shape).numel() or shape[0] != factors.shape[0]:
            raise BadFile(f"{name}: {layer} is {list(factors.shape)} in this adapter for {title_of(adapter.architecture)}, "
                          f"and {list(shape)} in the base; it was made for another model")  # fmt: skip


def updated(weight: Tensor, update: Factors, *, strength: float) -> Tensor:
    """W + strength · scale · B A in the format of W; with DoRA's magnitudes, its rows given their lengths (strength is then inside)."""
    new = weight.float() + strength * update.delta().view(weight.shape)
    if update.magnitude is not None:
        lengths = new.flatten(1).norm(dim=1)
        new = new * (update.magnitude.float() / lengths).view(-1, *[1] * (new.ndim - 1))
    return new.to(weight.dtype)


def _write_file(file: Path, out: Path, *, updates: Sequence[Named], places: Mapping[tuple[Path, str], str]) -> None:
    tensors = {}
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        for name in opened.keys():  # noqa: SIM118
            tensor = opened.get_tensor(name)
            layer = places.get((file, name), "").removesuffix(".weight")
            for _, adapter, strength in updates:
                if layer in adapter.layers:
                    tensor = updated(tensor, adapter.layers[layer], strength=strength)
            if layer and not is_finite(tensor):
                raise BadFile(f"{layer}: the merged weights are not finite in {tensor.dtype}; a smaller weight may help")
            tensors[name] = tensor.contiguous()
    save_file(tensors, out, metadata=metadata)


def _left_out(place: Path, names: list[str], *, folder: Path, parts: set[str]) -> set[str]:
    """Weights of the parts that change: written anew, and other forms of them (pickles, variants) would be the old ones."""
    if place.parent != folder or place.name not in parts:
        return set()
    endings = (".safetensors", ".bin", ".msgpack", ".h5", ".onnx", ".pt", ".ckpt")
    return {name for name in names if name.endswith(endings)}
