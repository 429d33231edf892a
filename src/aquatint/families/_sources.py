"""Where checkpoints come from: a diffusers folder, a Hub id, or a single file. One door for every family."""

import json
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from aquatint.core.memory import unswept
from aquatint.errors import BadBase, why
from aquatint.families._quantised import loading_options
from aquatint.names import nearest

BUILT_IN = ("pocket",)
"""Models that ship inside the package."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Of attention layers in early files, which diffusers renames when it loads them."""
OPTIONAL_PARTS = ("safety_checker", "feature_extractor", "image_encoder", "text_encoder_3", "tokenizer_3")
MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file, by its format."""


def resolve(source: str | Path) -> str:
    """The folder of a built-in model; any other source as it is."""
    if str(source) in BUILT_IN:
        return str(files("aquatint") / "models" / str(source))
    return str(Path(source).expanduser()) if str(source).startswith("~") else str(source)


def lasting(source: str) -> str:
    """The same source by a name that holds from any working directory."""
    path = Path(source).expanduser()
    return str(path.absolute()) if source not in BUILT_IN and path.exists() else source


def check(source: str, class_names: Collection[str]) -> None:
    """Raises `BadBase` for what can be seen without loading: nothing there, no model, a model of another class."""
    path = Path(source)
    check_place(source)
    if path.is_dir():
        _check_class(source, class_of(path), class_names=class_names)


def check_place(source: str) -> None:
    """Raises `BadBase` where there is nothing, or no model."""
    path = Path(source)
    if path.is_file():
        if path.suffix != ".safetensors":
            kind = path.suffix or "nameless"
            raise BadBase(f"base={path}: only .safetensors files are opened; a {kind} file may hold code that runs when it is read")
    elif path.is_dir():
        class_of(path)
        _check_parts(path)
    elif source.startswith((".", "/")) or source.count("/") != 1 or path.parent.is_dir():
        raise BadBase(f"base={source}: no such folder or file, and a Hub id has the form owner/name{nearest(source, BUILT_IN)}")


def _check_parts(path: Path) -> None:
    """Raises `BadBase` for parts that are announced and absent: of a tokenizer the loader makes an empty one and says nothing."""
    if (path / "config.json").is_file():  # of early models, whose parts lie beside the index
        return
    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    needed = [name for name, kind in index.items() if isinstance(kind, list) and kind[:1] != [None] and name not in OPTIONAL_PARTS]
    if missing := [name for name in needed if not (path / name).is_dir()]:
        raise BadBase(f"base={path}: model_index.json names {', '.join(missing)}, and there is no such folder; fetch the model again")


def shapes(source: str, file_parts: Mapping[str, str]) -> dict[str, dict[str, list[int]]]:
    """Part, as diffusers names it -> weight -> shape, from the files' headers; empty when the files are not here.

    `file_parts` are the family's: part -> how its weights' names begin in a single file.
    """
    path = Path(source)
    if not path.exists():
        path = _in_hub_cache(source)
    if path.is_file():
        named = header(path)
        return {part: {n: s for n, s in named.items() if n.startswith(prefix)} for part, prefix in file_parts.items()}
    parts: dict[str, dict[str, list[int]]] = {}
    for file in [*sorted(path.glob("*/*.safetensors")), path / WEIGHTS]:
        if file.is_file() and "." not in file.stem and file.parent.name != "safety_checker":  # a dot begins a variant, such as .fp16
            part = file.parent.name if file.parent != path else _part_at_root(path)
            parts.setdefault(part, {}).update({_renamed(name): shape for name, shape in header(file).items()})
    return parts


def config_of(source: str, part: str) -> dict[str, Any]:
    """The `config.json` of a part of a model, which of early models lies beside the index; empty where none can be read."""
    for name in (f"{part}/config.json", "config.json"):
        if file := beside(source, name):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:  # its loader tells
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def beside(source: str, name: str) -> Path | None:
    """A file of a diffusers folder, or of a model on the Hub; None where there is none."""
    path = Path(source)
    if path.exists():
        return path / name if (path / name).is_file() else None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, name))
    except Exception:  # the Hub has error classes of its own: not there, or out of reach
        return None


def _part_at_root(path: Path) -> str:
    """The part whose files lie beside the index, as those of the only network of early models do."""
    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    known = [name for name, kind in index.items() if isinstance(kind, list) and kind[0] == "diffusers" and not (path / name).is_dir()]
    return next((name for name in known if not name.endswith("scheduler")), "")


def _renamed(name: str) -> str:
    return next((name.replace(old, new) for old, new in OLD_NAMES.items() if old in name), name)


@unswept()
def load_pipeline(source: str | Path, class_names: Collection[str], **options: Any) -> Any:
    """The stock pipeline in float32: one of the classes, of a single file the first. Raises `BadBase` with what was looked for."""
    import diffusers
    import torch

    _quieten()
    source = resolve(source)
    check(source, class_names)
    path = Path(source)
    found = next(iter(class_names)) if path.is_file() else class_of(path) if path.is_dir() else class_on_hub(source)
    _check_class(source, found, class_names=class_names)
    pipeline_class = getattr(diffusers, found)
    options |= {"dtype": torch.float32, "use_safetensors": True}  # never unpickle
    try:
        if path.is_file():
            options.pop("requires_safety_checker", None)
            return pipeline_class.from_single_file(path, **options)
        if "requires_safety_checker" in options:
            options["safety_checker"] = None
        return pipeline_class.from_pretrained(path if path.is_dir() else source, **options, **loading_options())
    except BadBase:
        raise
    except Exception as error:  # safetensors, diffusers and the Hub each have error classes of their own
        raise BadBase(f"base={source}: {why(error)}") from error


def is_in_hub_cache(source: str) -> bool:
    return _in_hub_cache(source).is_dir()


def _in_hub_cache(source: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(source, "model_index.json")
    return Path(index).parent if isinstance(index, str) else Path(source)


def header(file: Path) -> dict[str, list[int]]:
    """Names and shapes in a safetensors file; none in a damaged one, of which its loader tells."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            described = json.loads(opened.read(min(length, MAX_HEADER_BYTES)))
        return {name: tensor["shape"] for name, tensor in described.items() if name != "__metadata__"}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def class_of(path: Path) -> str:
    """The class of the pipeline in a diffusers folder. Raises `BadBase` when the folder holds none."""
    index = path / "model_index.json"
    if not index.is_file():
        raise BadBase(f"base={path}: this folder is no diffusers model (it has no model_index.json)")
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadBase(f"base={path}: its model_index.json cannot be read ({why(error)})") from error
    return str(found)


def class_on_hub(source: str) -> str:
    """The same of a model on the Hub, or in its cache on this machine."""
    from huggingface_hub import hf_hub_download

    try:
        return class_of(Path(hf_hub_download(source, "model_index.json")).parent)
    except BadBase:
        raise
    except Exception as error:  # the Hub has error classes of its own
        raise BadBase(f"base={source}: {why(error)}") from error


def _check_class(source: str, found: str, *, class_names: Collection[str]) -> None:
    if found not in class_names:
        asked = " or ".join(class_names)
        raise BadBase(f"base={source}: this is a {found}, and a {asked} was asked for; choose the family that loads it")


def _quieten() -> None:
    """Progress bars over a handful of files, and notices meant for the libraries' own callers, would bury our lines."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
