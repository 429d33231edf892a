"""Restore photographs and scans with a tuned model: denoise, fill in, enlarge, sharpen, reconstruct MRI from few lines.

Several pictures are drawn that all fit what was measured; their mean is the result, and where they differ nobody knows. This is no medical
device: do not diagnose from what it draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from aquatint.atomic import free_name
from aquatint.config import Config
from aquatint.core.memory import unswept
from aquatint.errors import BadFile, BadSetting
from aquatint.guidance._degradations import K_SPACE, Degradation, Given
from aquatint.guidance.measurement import Measurement, Method, has_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from aquatint.core.family import Bundle
    from aquatint.generation.settings import Drawing
    from aquatint.model import Drawn, Model

FRESH_NOISE = "ddpm"
"""Mends on the way what the measurement did not agree with: far better than deterministic steps in all that was tried (docs/restore.md)."""
NO_DEVICE = "not a medical device: what is drawn fits the measurement, and may still be wrong; do not diagnose from it"


class Restore(Config):
    images: tuple[Path, ...] = Field(min_length=1)
    """Pictures, DICOM or NIfTI files, or k-space of an MRI (`.npy`, complex, zero frequency in the middle)."""
    model: str
    """A run, or a base, that knows such pictures."""
    operator: Degradation = Field(default="denoise", validate_default=True)
    """What was done to them: denoise, inpaint, superres, deblur or mri; `operator.mask=`, `operator.factor=` and so on say more."""
    noise: float | None = Field(None, ge=0, le=1)
    """Standard deviation of their noise, in shares of the range from black to white. Not given: 0.1 for denoise, else 0."""
    method: Method | None = None
    """How measurement and model are joined: `ddnm`, the default, `pigdm` or `moment`; `dps` for models on latents."""
    iterations: PositiveInt | None = None
    """Of conjugate gradients at each step, by `moment`. Not given: 3."""
    fit: bool = False
    """Scale and crop each picture to the size that the model draws, as in training; what is restored is then that."""
    samples: PositiveInt = 8
    """How many are drawn of each; the mean of more is nearer to the truth, and its uncertainty better known."""
    prompt: str = ""
    """What the pictures show, for a model that is told a text or a class."""
    steps: PositiveInt = 50
    """Denoising steps."""
    seed: int = Field(42, ge=0)
    """Of the first sample."""
    scheduler: str | None = None
    """Another sampler, as for `aquatint generate`. Not given: for models on pixels one that draws fresh noise on the way."""
    family: str = "auto"
    """Architecture of a base model; `auto` finds it in its files."""
    out: Path = Path("restored")
    """A folder in it for each picture."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""

    main: ClassVar = ("images", "model", "operator", "noise", "method", "samples", "prompt", "steps", "seed", "out")
    positional: ClassVar = ("images",)

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        return has_effect(self)


@dataclass(frozen=True)
class Wanted:
    """One picture to restore."""

    name: str
    given: Given
    picture: Image | None = None
    """What was given, where it is a picture."""


def run(config: Restore) -> Iterator[str]:
    """Yields a line for each picture. Raises `BadFile`, `BadPicture` or `BadSetting` before a model is loaded."""
    wanted = [each for path in config.images for each in _read(path, config.operator)]
    with unswept():
        from aquatint.model import load
    model = load(config.model, family=config.family, cpu=config.cpu)
    wanted = [_fitted(each, model.bundle, operator=config.operator) for each in wanted] if config.fit else wanted
    _check(model, wanted, config=config)
    for each in wanted:
        folder = _restored(each, model, config=config)
        unsure = "mean.png, uncertainty.png and" if config.samples > 1 else "with one sample there is no uncertainty;"
        yield f"{each.name} -> {folder}: {unsure} {config.samples} samples"
    yield NO_DEVICE


def _read(path: Path, operator: Degradation) -> Iterator[Wanted]:
    """A volume is all of its slices."""
    from aquatint.data.pictures import open_picture
    from aquatint.data.places import Entry, File
    from aquatint.data.settings import Images
    from aquatint.data.volumes import unfolded

    if not path.is_file():
        raise BadFile(f"{path}: there is no such file")
    if path.suffix.lower() in K_SPACE:
        if operator.kind != "mri":
            raise BadSetting(f"{path}: k-space is what operator=mri reads, and this is operator={operator.kind}")
        yield Wanted(path.stem, operator.given_file(path))
        return
    entries, _ = unfolded([Entry(path.name, File(path))], Images())
    for number, entry in enumerate(entries):
        name = path.name.partition(".")[0] + (f"-{number:03}" if len(entries) > 1 else "")
        picture = open_picture(entry.place)
        yield Wanted(name, operator.given(picture), picture)


def _fitted(wanted: Wanted, bundle: Bundle, *, operator: Degradation) -> Wanted:
    """At the model's size; what is to become larger in its share of that. Raises `BadSetting` for k-space, whose size is measured."""
    if wanted.picture is None:
        raise BadSetting(f"fit says nothing of k-space ({wanted.name}), which is of the size that was measured; leave it out")
    return Wanted(wanted.name, operator.fitted(wanted.picture, bundle.resolution_px), wanted.picture)


def _check(model: Model, wanted: Sequence[Wanted], *, config: Restore) -> None:
    bundle = model.bundle
    if bundle.autoencoder is not None and config.method not in (None, "dps"):
        raise BadSetting(f"method={config.method} needs a model on pixels, and this one's are latents; use method=dps")
    for each in wanted:
        (width, height), side = each.given.size_px, bundle.resolution_px
        if bundle.is_framed and (width, height) != (side, side):
            raise BadSetting(f"{each.name}: the picture has {width} x {height} px, and this model draws squares of {side}; say fit=true")
        if any(length % bundle.side_multiple for length in (width, height)):
            raise BadSetting(f"{each.name}: both sides of {width} x {height} px must be multiples of {bundle.side_multiple}; say fit=true")


def _restored(wanted: Wanted, model: Model, *, config: Restore) -> Path:
    """Samples, mean and uncertainty, in a folder that was not there."""
    import numpy as np

    fit = Measurement(image=Path(wanted.name), **config.model_dump(include={"operator", "noise", "method", "iterations"})).fit(wanted.given)
    drawing = _drawing(config, wanted.given, model=model)
    samples = np.stack([_values(drawn) for drawn in model.draw(drawing, further=[fit])])
    folder = free_name(config.out / wanted.name)
    folder.mkdir(parents=True)
    for index, sample in enumerate(samples):
        _save(_grey(sample), folder / f"sample-{config.seed + index}.png", config=config)
    np.save(folder / "mean.npy", mean := samples.mean(0))
    _save(_grey(mean), folder / "mean.png", config=config)
    _save(_simple(wanted.given), folder / "without-a-model.png", config=config)
    if len(samples) > 1:
        np.save(folder / "uncertainty.npy", spread := samples.std(0, ddof=1))
        white = float(spread.max())
        _save(_grey(spread / max(white, 1e-6)), folder / "uncertainty.png", config=config, white=f"{white:.4f}")
    return folder


def _values(drawn: Drawn) -> NDArray[Any]:
    """(H, W) or (H, W, 3), about in [0, 1], as drawn: neither rounded nor cut off."""
    assert drawn.pixels_CHW is not None
    pixels: NDArray[Any] = (drawn.pixels_CHW.numpy() + 1) / 2
    values: NDArray[Any] = pixels[0] if (pixels == pixels[:1]).all() else pixels.transpose(1, 2, 0)
    return values


def _drawing(config: Restore, given: Given, *, model: Model) -> Drawing:
    """Without a prompt nothing is guided by one."""
    from aquatint.generation.settings import Drawing

    is_told = model.bundle.told == "text"
    scale = {"scale": Drawing.model_fields["scale"].default if config.prompt else 1.0} if is_told else {}
    size = {} if model.bundle.is_framed else {"size": given.size_px}
    shared = {"prompt": config.prompt, "num": config.samples, "seed": config.seed, "steps": config.steps}
    scheduler = config.scheduler or (FRESH_NOISE if _takes_fresh_noise(model.bundle) else None)
    return Drawing.from_tree({**shared, **scale, **size, "scheduler": scheduler})


def _takes_fresh_noise(bundle: Bundle) -> bool:
    from aquatint.core.process import VariancePreserving

    return bundle.autoencoder is None and isinstance(bundle.objective.process, VariancePreserving)


def _grey(values: NDArray[Any]) -> Image:
    """(H, W) or (H, W, 3) in [0, 1]."""
    from PIL.Image import fromarray

    return fromarray((values.clip(0, 1) * 255).round().astype("uint8"))


def _simple(given: Given) -> Image:
    values = ((given.simple[0].float() + 1) / 2).numpy()
    return _grey(values[0] if (values == values[:1]).all() else values.transpose(1, 2, 0))


def _save(picture: Image, path: Path, *, config: Restore, **more: str) -> None:
    import json

    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, value in {"software": "aquatint", "note": NO_DEVICE, "restored": json.dumps(config.model_dump(mode="json")), **more}.items():
        info.add_itxt(name, value)
    picture.save(path, pnginfo=info)
