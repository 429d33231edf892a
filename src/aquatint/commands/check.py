"""Say what a file is, whether it is whole, and which programs load it.

For a LoRA from anywhere: kind, architecture, layers, rank, alpha, and which of diffusers, ComfyUI, A1111 and Forge load all of
it. For embeddings and whole models: that every tensor is there and finite. The exit code is not 0 when something is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from aquatint.config import Config

if TYPE_CHECKING:
    from aquatint.export.adapter import Adapter
    from aquatint.export.opening import Header

LORA_FILE = "pytorch_lora_weights.safetensors"
BESIDE = ("pytorch_lora_weights_kohya.safetensors", "learned_embeds.safetensors")
"""What else a run may have written."""
ENCODERS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 1280: "the second text encoder of SDXL"}
"""Width of a word's vector -> whose."""


class Check(Config):
    file: Path
    """A LoRA, an embedding, a checkpoint, a diffusers folder, or the folder of a run."""
    base: str | None = None
    """A model: does the adapter fit it, and reach every layer that it names? `pocket`, a folder, a checkpoint, a downloaded Hub id."""

    positional: ClassVar[tuple[str, ...]] = ("file",)


def run(config: Check) -> Iterator[str]:
    """A line for each thing that was found. Raises `BadFile` for what is broken, `BadRun` for a run that has not finished."""
    for path in _files_of(config.file):
        yield from _model_folder(path) if (path / "model_index.json").is_file() else _file(path, base=config.base)


def _file(path: Path, *, base: str | None) -> Iterator[str]:
    from aquatint.export.opening import header
    from aquatint.export.reading import PEFT_FILE
    from aquatint.export.spelling import parse

    file = path / PEFT_FILE if (path / PEFT_FILE).is_file() else path
    found = header(file)
    yield f"file      {file}  {len(found.shapes)} tensors, {file.stat().st_size / 2**20:.1f} MiB"
    if any(parse(name) for name in found.shapes):
        yield from _adapter(path, found, base=base)
        return
    yield from _embedding(file, found) if _is_embedding(found) else _checkpoint(file)
    if base:
        yield "base      not compared: that is done for adapters alone"


def _files_of(path: Path) -> list[Path]:
    """A run's folder stands for all that the run wrote, one of PEFT's adapters for all of them, another for the usual file in it."""
    from aquatint.training.folder import RunFolder

    folder = RunFolder(path)
    if folder.config.is_file():
        further = [path / name for name in BESIDE if (path / name).is_file()]
        return [*_parts(path / str(folder.read_facts()["file"])), *further]
    return [path / LORA_FILE] if (path / LORA_FILE).is_file() else _parts(path)


def _parts(path: Path) -> list[Path]:
    from aquatint.export.reading import PEFT_FILE

    return sorted(file.parent for file in path.glob(f"*/{PEFT_FILE}")) or [path]


def _adapter(path: Path, found: Header, *, base: str | None) -> Iterator[str]:
    from aquatint.errors import BadFile
    from aquatint.export import programs, reading
    from aquatint.export.architectures import family_of, title_of

    adapter = reading.read(path)
    family = f" (family={family_of(adapter.architecture)})" if adapter.architecture else ""
    yield f"what      {'/'.join(adapter.kinds)} for {title_of(adapter.architecture)}{family}, in {adapter.spelling} names"
    if adapter.unknown:
        yield f"note      {len(adapter.unknown)} tensors belong to no layer, first {adapter.unknown[0]}"
    if adapter.layers:
        yield from _layers(adapter)
    if trigger := found.metadata.get("modelspec.trigger_phrase"):
        yield f"trigger   {trigger}"
    verdicts = list(programs.verdicts(adapter, found.shapes))
    for verdict in verdicts:
        yield f"{verdict.program:<9} {'loads all of it' if verdict.is_loaded else f'no: {verdict.reason}'}"
    if adapter.spelling in ("diffusers", "peft") and adapter.layers and "does not know" in "".join(v.reason for v in verdicts):
        yield f"{'':<9} -> aquatint convert {path} writes the names that they know"
    if base and adapter.others:
        yield f"base      not compared: that is done for LoRA and DoRA, and this is {', '.join(adapter.kinds)}"
    elif base:
        yield _fit(adapter, base, name=str(path))
    idle = [name for name, factors in adapter.layers.items() if not (factors.scale and factors.up.any() and factors.down.any())]
    if adapter.layers and len(idle) == len(adapter.layers):
        raise BadFile(f"{path}: every update is zero; whatever loads this file is left as it was")
    if idle:
        yield f"note      {len(idle)} of {len(adapter.layers)} layers have an update of zero, first {idle[0]}"


def _layers(adapter: Adapter) -> Iterator[str]:
    parts = [name.partition(".")[0] for name in adapter.layers]
    yield f"layers    {', '.join(f'{parts.count(part)} in {part}' for part in dict.fromkeys(parts))}"
    alphas = sorted({factors.scale * factors.rank for factors in adapter.layers.values()})
    said = "alpha" if any(factors.alpha is not None for factors in adapter.layers.values()) else "alpha (not said, so the rank)"
    yield f"rank      {_span(adapter.ranks)}, {said} {_span(alphas)}"


def _fit(adapter: Adapter, base: str, *, name: str) -> str:
    from aquatint.export.onto_base import check_fits
    from aquatint.export.weights import place_of, weights_of

    check_fits(adapter, weights_of(place_of(base)), name=name)
    return f"base      all {len(adapter.layers)} layers are in {base}, in the same shapes"


def _is_embedding(found: Header) -> bool:
    """A1111's and diffusers' files hold one table of vectors, those of SDXL one for each text encoder."""
    widths = [shape[-1] for shape in found.shapes.values() if 1 <= len(shape) <= 2]
    names = set(found.shapes)
    return len(widths) == len(names) and (len(names) == 1 or names == {"clip_l", "clip_g"})


def _embedding(file: Path, found: Header) -> Iterator[str]:
    from aquatint.errors import BadFile
    from aquatint.export.opening import is_finite, tensors

    for name, tensor in tensors(file):
        if not is_finite(tensor) or not tensor.any():
            raise BadFile(f"{file}: the vectors of {name} are {'zero' if is_finite(tensor) else 'not finite'}; the file is broken")
        whose = ENCODERS.get(tensor.shape[-1], f"a text encoder that is {tensor.shape[-1]} wide")
        yield f"what      an embedding: {name}, {tensor.numel() // tensor.shape[-1]} vectors for {whose}"
    is_double = len(found.shapes) == 2
    yield f"diffusers {'loads it by load_textual_inversion, one tensor for each tokenizer' if is_double else 'loads all of it'}"
    odd = [shape[-1] for shape in found.shapes.values() if shape[-1] not in ENCODERS]
    verdict = f"no: it loads models of the published sizes, and none reads words that are {odd[0]} wide" if odd else "loads all of it"
    yield from (f"{program:<9} {verdict}" for program in ("ComfyUI", "A1111", "Forge"))


def _checkpoint(file: Path) -> Iterator[str]:
    from aquatint.export.architectures import recognise, title_of
    from aquatint.export.weights import weights_of

    weights = weights_of(file)
    widths = {n.removesuffix(".weight"): (w.shape[1], w.shape[0]) for n, w in weights.items() if len(w.shape) > 1}
    yield f"what      a whole model in one file: {title_of(recognise(widths, {}))}"
    yield f"finite    {_check_finite(file)} tensors are whole and finite"


def _model_folder(folder: Path) -> Iterator[str]:
    """Raises `BadFile` for parts that are announced and absent, and for tensors that are not finite."""
    import json

    from aquatint.errors import BadFile, why

    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        parts = {name: kind for name, kind in index.items() if isinstance(kind, list) and kind[0]}
        yield f"what      a whole model: {index['_class_name']}"
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadFile(f"{folder}/model_index.json cannot be read ({why(error)})") from error
    for part in parts:
        if not (folder / part).is_dir():
            raise BadFile(f"{folder}: model_index.json names the part {part}, and there is no such folder")
        _check_shards(folder / part)
        files = sorted((folder / part).glob("*.safetensors"))
        if files:
            yield f"finite    {part}: {sum(map(_check_finite, files))} tensors are whole and finite"
        elif pickles := sorted((folder / part).glob("*.bin")):
            raise BadFile(f"{pickles[0]}: this part is a pickle alone, which may run any code when it is opened; get its .safetensors file")
        elif _is_network(folder / part):
            raise BadFile(f"{folder / part}: there are no weights in this part")


def _is_network(part: Path) -> bool:
    """Whether it has weights, by its configuration; tokenizers and schedulers have none."""
    return (part / "config.json").is_file()


def _check_shards(part: Path) -> None:
    import json

    from aquatint.errors import BadFile
    from aquatint.export.opening import header

    for index in part.glob("*.safetensors.index.json"):
        for name, file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            if not (part / file).is_file() or name not in header(part / file).shapes:
                raise BadFile(f"{part / file}: {name} is said to be in it by {index.name}, and is not; fetch the model again")


def _check_finite(file: Path) -> int:
    """How many tensors there are. Raises `BadFile` for numbers that are not finite, and for a network of zeros."""
    from aquatint.errors import BadFile
    from aquatint.export.opening import is_finite, tensors

    count = num_idle = 0
    for name, tensor in tensors(file):
        if not is_finite(tensor):
            raise BadFile(f"{file}: {name} holds numbers that are not finite; the model is broken")
        count, num_idle = count + 1, num_idle + (not tensor.any())
    if count == num_idle:
        raise BadFile(f"{file}: all {count} tensors are zero; the model is broken")
    return count


def _span(values: tuple[int, ...] | list[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
