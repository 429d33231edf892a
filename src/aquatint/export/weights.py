"""The weights of a model by part and name, as diffusers has them: from a diffusers folder, or from a published checkpoint in one file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from aquatint.errors import BadFile
from aquatint.export.fusion import widths_of
from aquatint.export.native import BLOCKS, diffusers_transformer, diffusers_unet, has_swapped_halves, is_published
from aquatint.export.opening import header
from aquatint.families._sources import resolve

PUBLISHED = "model.diffusion_model."
FIRST_ENCODER = {
    "cond_stage_model.transformer.": "text_encoder", "conditioner.embedders.0.transformer.": "text_encoder",
    "text_encoders.clip_l.transformer.": "text_encoder",
}  # fmt: skip
PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass(frozen=True)
class Weight:
    """Where one lies; read when it is asked for."""

    file: Path
    name: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    """Those of a matrix that holds several layers."""
    is_swapped: bool = False

    def read(self) -> Tensor:
        import torch

        with safe_open(self.file, "pt") as file:
            tensor: Tensor = file.get_tensor(self.name)
        tensor = tensor[slice(*self.rows)] if self.rows else tensor
        return torch.cat(tensor.chunk(2)[::-1]) if self.is_swapped else tensor


def place_of(source: str) -> Path:
    """Where a model lies: built in, a path, or in the Hub's cache. Raises `BadFile` when it is in none of them."""
    path = Path(resolve(source))
    if path.exists():
        return path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(source, "model_index.json")
    except HFValidationError:
        index = None
    if not isinstance(index, str):
        raise BadFile(f"{source}: no such folder or file, and no model of that name has been downloaded (hf download {source})")
    return Path(index).parent


def weights_of(source: str | Path) -> dict[str, Weight]:
    """`unet.mid_block.….weight` -> where it lies; biases and norms too. Raises `BadFile` for what is no model."""
    path = Path(source).expanduser()
    if path.is_dir():
        found: dict[str, Weight] = {}
        for part in PARTS:
            for file in files_of(path, part):
                found |= {f"{part}.{_with_level(n, part)}": Weight(file, n, s) for n, s in header(file).shapes.items()}
        if not found:
            raise BadFile(f"{path}: this folder is no diffusers model: no {', '.join(PARTS[:3])} with .safetensors files is in it")
        return found
    return _published(path)


def files_of(folder: Path, part: str) -> list[Path]:
    """The .safetensors files of one part of a diffusers folder; those of variants such as `.fp16` only where there are no others."""
    files = sorted((folder / part).glob("*.safetensors"))
    return [file for file in files if "." not in file.stem] or files


def pairs_of(
    base: Mapping[str, Weight], tuned: Mapping[str, Weight], *, select: Callable[[str], bool]
) -> dict[str, tuple[Weight, Weight]]:
    """Weight -> where it lies before and after. Raises `BadFile` when the two have other layers or other shapes."""
    names = {which: {name for name in model if select(name)} for which, model in (("base", base), ("tuned", tuned))}
    for which, other in (("base", "tuned"), ("tuned", "base")):
        if alone := sorted(names[which] - names[other]):
            raise BadFile(f"the two models are not of one architecture: {len(alone)} weights are in {which} alone, first {alone[0]}")
    pairs = {name: (base[name], tuned[name]) for name in sorted(names["base"])}
    if not pairs:
        raise BadFile("the two models have no layers in common")
    for name, (before, after) in pairs.items():
        if before.shape != after.shape:
            shapes = f"{list(before.shape)} in base and {list(after.shape)} in tuned"
            raise BadFile(f"{name} is {shapes}; the two models are of different sizes")
    return pairs


def _published(file: Path) -> dict[str, Weight]:
    """A checkpoint in one file; of its text encoders the first, whose names are diffusers' own."""
    found: dict[str, Weight] = {}
    shapes = header(file).shapes
    kinds = [kind for name in shapes if (kind := is_published(name.removeprefix(PUBLISHED).removesuffix(".weight")))]
    is_bare, kind = not any(name.startswith(PUBLISHED) for name in shapes), max(sorted(set(kinds)), key=kinds.count, default="")
    for name, shape in shapes.items():
        if encoder := next((prefix for prefix in FIRST_ENCODER if name.startswith(prefix)), None):
            found[f"{FIRST_ENCODER[encoder]}.{_with_level(name.removeprefix(encoder), 'text_encoder')}"] = Weight(file, name, shape)
        elif name.startswith(PUBLISHED) or is_bare:
            module, _, leaf = name.removeprefix(PUBLISHED).rpartition(".")
            found |= {f"{n}.{leaf}": weight for n, weight in _renamed(Weight(file, name, shape), module, kind=kind).items()}
    if not any(name.startswith(PARTS[:2]) for name in found):
        raise BadFile(f"{file}: this is no model: none of its {len(shapes)} tensors is a layer of a network that is known here")
    return found


def _renamed(weight: Weight, module: str, *, kind: str) -> dict[str, Weight]:
    """One published weight as the one or several that diffusers has."""
    if kind == "unet":
        name = diffusers_unet(module, BLOCKS["sd1"])
        return {f"unet.{name}": weight} if name else {}
    names = diffusers_transformer(module, kind) if kind else None
    if names is None:
        return {}
    num_outputs, *rest = weight.shape
    num_inputs = rest[0] if rest else num_outputs // len(names)
    if len(names) == 1:
        is_swapped = has_swapped_halves(names[0], num_outputs=num_outputs, num_inputs=num_inputs)
        return {f"transformer.{names[0]}": Weight(weight.file, weight.name, weight.shape, None, is_swapped)}
    found, start = {}, 0
    for name, width in zip(names, widths_of(names, num_inputs=num_inputs, num_outputs=num_outputs), strict=True):
        found[f"transformer.{name}"] = Weight(weight.file, weight.name, (width, *rest), (start, start + width))
        start += width
    return found


def _with_level(name: str, part: str) -> str:
    """CLIP's text model lost a level of its names in transformers 5.6; here they have it."""
    is_bare = part.startswith("text_encoder") and name.startswith(("encoder.layers.", "embeddings.", "final_layer_norm."))
    return f"text_model.{name}" if is_bare else name
