"""Draw pictures with a run or a base model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt

from aquatint.atomic import free_name
from aquatint.core.memory import unswept
from aquatint.errors import BadFile
from aquatint.generation.mixing import Adapter, axes, sweeps
from aquatint.generation.settings import Drawing

if TYPE_CHECKING:
    from aquatint.core.request import Request
    from aquatint.model import Drawn, Model

RUN_CODE = ("python", "scorer")
"""Guidances that import what they name."""
PLACES = ("model", "out", "cpu", "sheet", "preview", "again")
"""Settings that say nothing of what a picture shows but where it comes from and where it goes."""


class Generate(Drawing):
    model: str = "pocket"
    """A run folder, or a base model: `pocket`, a diffusers folder, a .safetensors checkpoint, a Hub id."""
    prompts: Path | None = None
    """A text file with a prompt in each line, in place of `prompt`."""
    family: str = "auto"
    """Architecture of a base model; `auto` finds it in its files, and a run knows its own."""
    again: Path | None = None
    """A picture that was drawn by this command: its settings are taken, beneath those given beside."""
    out: Path | None = None
    """Folder for the pictures. Not given: `pictures` in the run's folder, or here."""
    sheet: bool | None = None
    """Also one page with all pictures and their prompts. Not given: where there are several prompts."""
    preview: PositiveInt | None = None
    """After so many steps each, `preview.png` in the folder shows what the pictures are going to be."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 takes half the memory; `auto` takes it on GPUs that compute in it."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""

    aliases: ClassVar = {"from": "again"}
    main: ClassVar = ("model", "prompt", "negative", "num", "seed", "steps", "scale", "size", "guide", "image", "again", "out")
    positional: ClassVar = ("model",)


def run(config: Generate) -> Iterator[str]:
    """Yields a line for each picture. Raises `BadRun`, `BadBase`, `BadFile` or `BadSetting`."""
    from aquatint.generation.prompts import from_file, spelled_out

    config = _as_before(config)
    asked = from_file(config.prompts) if config.prompts else spelled_out(config.prompt)
    _check_files(config)
    with unswept():
        from aquatint.model import load
    model = load(config.model, family=config.family, precision=config.precision, cpu=config.cpu)
    for one, other, alike in model.overlaps(config.adapters):
        yield f"{one} and {other} change the same by {alike:.2f} (0 is nothing, 1 all of it)"
    mixes, finished = sweeps(config.adapters), list[Any]()
    folder: Path | None = None
    is_one = len(asked) * len(mixes) == 1
    for mix in mixes:
        mixed = config.model_copy(update={"adapters": mix})
        for drawn in model.draw(mixed, prompts=asked, every=config.preview):
            folder = folder or _folder(config, model)
            if drawn.is_finished:
                path = free_name(folder / _name(drawn.request.seed, number=len(finished) // config.num + 1, is_one=is_one))
                drawn.picture.save(path, pnginfo=_info(mixed, model, request=drawn.request))
                finished.append(drawn)
                yield _line(path, drawn, mix=mix if len(mixes) > 1 else (), is_one=len(asked) == 1)
            else:
                drawn.picture.save(folder / "preview.png")
                yield f"{folder / 'preview.png'}  step {drawn.step} of {drawn.num_steps}"
    if folder and (config.sheet or (config.sheet is None and not is_one)):
        yield f"{_sheet(config, finished, folder=folder)}  all of them"


def _line(path: Path, drawn: Drawn, *, mix: Sequence[Adapter], is_one: bool) -> str:
    weights = "".join(f"  {adapter.path.stem} {adapter.weight:g}" for adapter in mix)
    return f"{path}  seed {drawn.request.seed}{weights}" + ("" if is_one else f"  {drawn.request.prompt}")


def _as_before(config: Generate) -> Generate:
    """The settings of `again`, beneath what the user has said beside it."""
    from aquatint.generation.metadata import read_settings

    if config.again is None:
        return config
    known = {name: value for name, value in read_settings(config.again).items() if name in Generate.model_fields}
    said = {name: getattr(config, name) for name in config.model_fields_set}
    if "guide" not in said:
        _check_harmless(config.again, known.get("guide") or ())
    return Generate.from_tree({**known, **said, "again": None})


def _check_harmless(path: Path, guide: Sequence[Any]) -> None:
    """A picture may come from anybody, and must not say which code is run."""
    for each in guide:
        kind = each.get("kind") if isinstance(each, Mapping) else str(each).partition(":")[0]
        if kind in RUN_CODE:
            advice = "none is run because a picture says so; name it yourself: guide="
            raise BadFile(f"{path} was steered by a function of Python ({each}), and {advice}")


def _check_files(config: Generate) -> None:
    """Before a model is loaded."""
    for name in ("image", "mask"):
        path = getattr(config, name)
        if path is not None and not path.is_file():
            raise BadFile(f"{name}={path}: there is no such file")


def _info(config: Generate, model: Model, *, request: Request) -> Any:
    """As settings it says what this one picture needs."""
    from aquatint.generation.metadata import png_info

    one = {"prompt": request.prompt, "seed": request.seed, "num": 1, "prompts": None}
    settings = {**config.model_dump(mode="json", exclude=set(PLACES)), **one, "model": config.model}
    run = str(model.run) if model.run else None
    return png_info(request, base=model.base, adapter=run, scheduler=config.scheduler or model.scheduler, settings=settings)


def _sheet(config: Generate, drawn: list[Drawn], *, folder: Path) -> Path:
    """Two pairs of braces, or two sweeps, are rows and columns; else a row for each prompt, or each weight."""
    from aquatint.generation.prompts import grid
    from aquatint.generation.sheet import sheet

    prompts = list(dict.fromkeys(each.request.prompt for each in drawn))
    swept = [[f"{name} {weight:g}" for weight in weights] for name, weights in axes(config.adapters)]
    titles = None if config.prompts or config.num > 1 else grid(config.prompt)
    if swept:
        last = swept.pop() if len(swept) > 1 and len(prompts) * config.num == 1 else []
        down = [" ".join(words) for words in product(*swept)]
        titles = (down, last) if last else None
        prompts = [f"{weights} {prompt}" if len(prompts) > 1 else weights for weights in down for prompt in prompts]
    across = len(titles[1]) if titles else config.num
    rows = [[each.picture for each in drawn[start : start + across]] for start in range(0, len(drawn), across)]
    columns = titles[1] if titles else [f"seed {config.seed + i}" for i in range(config.num)]
    path = free_name(folder / "sheet.png")
    sheet(rows, row_titles=titles[0] if titles else prompts, column_titles=columns).save(path)
    return path


def _folder(config: Generate, model: Model) -> Path:
    folder = config.out or (model.run / "pictures" if model.run else Path("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _name(seed: int, *, number: int, is_one: bool) -> str:
    """By seed; of several prompts by the prompt's number too."""
    return f"{seed}.png" if is_one else f"{number:03}-{seed}.png"
