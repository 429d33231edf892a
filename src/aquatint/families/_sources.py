"""Where checkpoints come from: a diffusers folder, a Hub id, or a single file. One door for every family."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from aquatint.core.memory import unswept
from aquatint.errors import BadBase, why
from aquatint.names import nearest

BUILT_IN = ("pocket",)
"""Models that ship inside the package."""
PARTS_OF_A_FILE = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
"""Part -> how its weights' names begin in a single file."""
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


def check(source: str, class_name: str) -> None:
    """Raises `BadBase` for what can be seen without loading: nothing there, no model, a model of another class."""
    path = Path(source)
    if path.is_file():
        if path.suffix != ".safetensors":
            kind = path.suffix or "nameless"
            raise BadBase(f"base={path}: only .safetensors files are opened; a {kind} file may hold code that runs when it is read")
    elif path.is_dir():
        _check_folder(path, class_name)
    elif source.startswith((".", "/")) or source.count("/") != 1 or path.parent.is_dir():
        raise BadBase(f"base={source}: no such folder or file, and a Hub id has the form owner/name{nearest(source, BUILT_IN)}")


def shapes(source: str) -> dict[str, dict[str, list[int]]]:
    """Part, as diffusers names it -> weight -> shape, from the files' headers; empty when the files are not here."""
    path = Path(source)
    if not path.exists():
        path = _in_hub_cache(source)
    if path.is_file():
        named = _header(path)
        return {part: {n: s for n, s in named.items() if n.startswith(prefix)} for part, prefix in PARTS_OF_A_FILE.items()}
    parts: dict[str, dict[str, list[int]]] = {}
    for file in sorted(path.glob("*/*.safetensors")):
        if "." not in file.stem and file.parent.name != "safety_checker":  # a dot begins a variant, such as .fp16
            parts.setdefault(file.parent.name, {}).update(_header(file))
    return parts


@unswept()
def load_pipeline(source: str | Path, class_name: str, **options: Any) -> Any:
    """The stock pipeline in float32. Raises `BadBase` with what was looked for."""
    import diffusers
    import torch

    _quieten()
    source = resolve(source)
    check(source, class_name)
    pipeline_class, path = getattr(diffusers, class_name), Path(source)
    options |= {"dtype": torch.float32, "use_safetensors": True}  # never unpickle
    try:
        if path.is_file():
            options.pop("requires_safety_checker", None)
            return pipeline_class.from_single_file(path, **options)
        if "requires_safety_checker" in options:
            options["safety_checker"] = None
        if not path.is_dir():
            _check_class(source, pipeline_class.load_config(source).get("_class_name", ""), class_name=class_name)
        return pipeline_class.from_pretrained(path if path.is_dir() else source, **options)
    except BadBase:
        raise
    except Exception as error:  # safetensors, diffusers and the Hub each have error classes of their own
        raise BadBase(f"base={source}: {why(error)}") from error


def _in_hub_cache(source: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(source, "model_index.json")
    return Path(index).parent if isinstance(index, str) else Path(source)


def _header(file: Path) -> dict[str, list[int]]:
    """Names and shapes in a safetensors file; none in a damaged one, of which its loader tells."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            described = json.loads(opened.read(min(length, MAX_HEADER_BYTES)))
        return {name: tensor["shape"] for name, tensor in described.items() if name != "__metadata__"}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _check_folder(path: Path, class_name: str) -> None:
    index = path / "model_index.json"
    if not index.is_file():
        raise BadBase(f"base={path}: this folder is no diffusers model (it has no model_index.json)")
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadBase(f"base={path}: its model_index.json cannot be read ({why(error)})") from error
    _check_class(str(path), found, class_name=class_name)


def _check_class(source: str, found: str, *, class_name: str) -> None:
    if found != class_name:
        raise BadBase(f"base={source}: this is a {found}, and a {class_name} was asked for; choose the family that loads it")


def _quieten() -> None:
    """Progress bars over a handful of files, and notices meant for the libraries' own callers, would bury our lines."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
