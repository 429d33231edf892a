"""Draw pictures with a run or a base model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from aquatint.config import Config
from aquatint.core.memory import unswept
from aquatint.errors import BadSetting

if TYPE_CHECKING:
    import torch

    from aquatint.core.family import Bundle


class Generate(Config):
    model: str = "pocket"
    """A run folder, or a base model: `pocket`, a diffusers folder, a .safetensors checkpoint, a Hub id."""
    prompt: str = ""
    """What to draw: a text; for a base of classes the name of one, or its number."""
    negative: str = ""
    """What to keep away from."""
    num: PositiveInt = 1
    """How many pictures; their seeds count up from `seed`."""
    seed: int = Field(42, ge=0)
    """Names the first picture: the same seed draws the same picture, alone or among others."""
    steps: PositiveInt = 30
    """Denoising steps."""
    scale: float = Field(5.0, ge=0)
    """Guidance scale: how strongly the pictures follow the prompt."""
    size: tuple[PositiveInt, PositiveInt] | None = None
    """Width and height in pixels. Not given: the model's own."""
    family: str = "auto"
    """Architecture of a base model; `auto` finds it in its files, and a run knows its own."""
    out: Path | None = None
    """Folder for the pictures. Not given: `pictures` in the run's folder, or here."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""

    main: ClassVar = ("model", "prompt", "negative", "num", "seed", "steps", "scale", "size", "out")
    positional: ClassVar = ("model",)


def run(config: Generate) -> Iterator[str]:
    """Yields a line for each picture. Raises `BadRun` or `BadBase`."""
    with unswept():
        from aquatint.core.request import Request
        from aquatint.generation.drawing import draw, png_info
    bundle, base, adapter = _load(config)
    prompt = _spelled(config.prompt, adapter)
    bundle.to(_device(config.cpu))
    width, height = config.size or (None, None)
    shared = {"num_steps": config.steps, "scale": config.scale, "negative": config.negative, "width_px": width, "height_px": height}
    requests = [Request(prompt, config.seed + index, **shared) for index in range(config.num)]  # type: ignore[arg-type]
    if bundle.told != "text":  # what it would not listen to is told before a folder is made
        bundle.family.asked(bundle, requests)
        bundle.family.encode_prompts(bundle, [prompt])
    folder = _folder(config, adapter)
    scheduler = type(bundle.pipeline.scheduler).__name__
    for picture, request in zip(draw(bundle, requests), requests, strict=True):
        path = _free_path(folder, request.seed)
        picture.save(path, pnginfo=png_info(request, base=base, adapter=adapter, scheduler=scheduler))
        yield f"{path}  seed {request.seed}"


def _load(config: Generate) -> tuple[Bundle, str, str | None]:
    """The model ready to draw, its base, and the run's folder if it is one."""
    from aquatint.recognition import recognise
    from aquatint.registry import families
    from aquatint.training.folder import RunFolder
    from aquatint.training.objectives import end_in_noise
    from aquatint.training.settings import Train

    folder = RunFolder(Path(config.model))
    if not folder.config.is_file():
        family = recognise(config.model, config.family).family
        _check_size(config, family.pixel_multiple)
        return family.load(config.model).freeze(), config.model, None
    facts, settings = folder.read_facts(), Train.read([], file=folder.config)
    family = families[settings.family]
    _check_size(config, family.pixel_multiple)
    bundle: Bundle = family.load(settings.base).freeze()
    if settings.loss.zero_terminal_snr:
        end_in_noise(bundle)
    settings.method.load(bundle, folder.path / facts["file"])
    if settings.images.long_captions == "join":
        bundle.windows = max(facts.get("windows", 1), *(family.num_windows(bundle, text) for text in (config.prompt, config.negative)))
    return bundle, settings.base, str(folder.path)


def _spelled(prompt: str, adapter: str | None) -> str:
    """With the run's trigger in its own spelling: tokenizers ignore case, but stock pipelines look for a learned word as it stands."""
    from aquatint.data.captions import spelled
    from aquatint.training.folder import RunFolder

    trigger = RunFolder(Path(adapter)).read_facts().get("trigger") if adapter else None
    return spelled(prompt, trigger) if trigger else prompt


def _check_size(config: Generate, multiple: int) -> None:
    if config.size and any(side % multiple for side in config.size):
        raise BadSetting(f"size={list(config.size)}: both sides must be multiples of {multiple}, as this model's networks need")


def _device(is_cpu: bool) -> torch.device:
    import torch

    from aquatint.core.memory import keep_freed_memory

    if not is_cpu and torch.cuda.is_available():
        return torch.device("cuda")
    if not is_cpu and torch.backends.mps.is_available():
        return torch.device("mps")
    keep_freed_memory()
    return torch.device("cpu")


def _folder(config: Generate, adapter: str | None) -> Path:
    folder = config.out or (Path(adapter) / "pictures" if adapter else Path("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free_path(folder: Path, seed: int) -> Path:
    """A name that no picture has yet: nothing is written over."""
    path, count = folder / f"{seed}.png", 1
    while path.exists():
        count += 1
        path = folder / f"{seed}-{count}.png"
    return path
