"""Restore photographs and scans with a tuned model: denoise, fill in, enlarge, sharpen, reconstruct MRI from few lines.

Several pictures are drawn that all fit what was measured; their mean is the result, and where they differ nobody knows. This is no medical
device: do not diagnose from what it draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from aquatint.config import Config
from aquatint.core.memory import unswept
from aquatint.errors import BadFile, BadSetting
from aquatint.guidance._degradations import K_SPACE, Degradation, Given
from aquatint.guidance.measurement import Measurement, Method

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from aquatint.generation.settings import Drawing
    from aquatint.model import Model

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
    """How measurement and model are joined: `moment`, the default, `pigdm`, `ddnm`, the fastest; `dps` for models on latents."""
    iterations: PositiveInt = 3
    """Of conjugate gradients at each step, by `moment`."""
    samples: PositiveInt = 8
    """How many are drawn of each; the mean of more is nearer to the truth, and its uncertainty better known."""
    prompt: str = ""
    """What the pictures show, for a model that is told a text or a class."""
    steps: PositiveInt = 50
    """Denoising steps."""
    seed: int = Field(42, ge=0)
    """Of the first sample."""
    scheduler: str | None = None
    """Another sampler, as for `aquatint generate`."""
    family: str = "auto"
    """Architecture of a base model; `auto` finds it in its files."""
    out: Path = Path("restored")
    """A folder in it for each picture."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""

    main: ClassVar = ("images", "model", "operator", "noise", "method", "samples", "prompt", "steps", "seed", "out")
    positional: ClassVar = ("images",)


@dataclass(frozen=True)
class Wanted:
    """One picture to restore."""

    name: str
    given: Given


def run(config: Restore) -> Iterator[str]:
    """Yields a line for each picture. Raises `BadFile`, `BadPicture` or `BadSetting` before a model is loaded."""
    wanted = [each for path in config.images for each in _read(path, config.operator)]
    with unswept():
        from aquatint.model import load
    model = load(config.model, family=config.family, cpu=config.cpu)
    _check(model, wanted, config=config)
    for each in wanted:
        folder = _restored(each, model, config=config)
        yield f"{each.name} -> {folder}: mean.png, uncertainty.png and {config.samples} samples"
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
        yield Wanted(name, operator.given(open_picture(entry.place)))


def _check(model: Model, wanted: Sequence[Wanted], *, config: Restore) -> None:
    bundle = model.bundle
    if bundle.autoencoder is not None and config.method not in (None, "dps"):
        raise BadSetting(f"method={config.method} needs a model on pixels, and this one's are latents; use method=dps")
    for each in wanted:
        (width, height), side = each.given.size_px, bundle.resolution_px
        if bundle.is_framed and (width, height) != (side, side):
            raise BadSetting(f"{each.name}: the picture has {width} x {height} px, and this model draws squares of {side}; resize it first")
        if any(length % bundle.side_multiple for length in (width, height)):
            raise BadSetting(f"{each.name}: both sides of {width} x {height} px must be multiples of {bundle.side_multiple}; crop it first")


def _restored(wanted: Wanted, model: Model, *, config: Restore) -> Path:
    """Samples, mean and uncertainty, in a folder that was not there."""
    import numpy as np

    fit = Measurement(image=Path(wanted.name), **config.model_dump(include={"operator", "noise", "method", "iterations"})).fit(wanted.given)
    drawing = _drawing(config, wanted.given, model=model)
    samples = [drawn.picture for drawn in model.draw(drawing, further=[fit])]
    arrays = np.stack([np.asarray(_plain(picture), dtype=np.float32) / 255 for picture in samples])
    folder = _free(config.out / wanted.name)
    folder.mkdir(parents=True)
    for index, picture in enumerate(samples):
        _save(_plain(picture), folder / f"sample-{config.seed + index}.png", config=config)
    mean, spread = arrays.mean(0), arrays.std(0, ddof=min(1, len(samples) - 1))
    np.save(folder / "mean.npy", mean)
    np.save(folder / "uncertainty.npy", spread)
    _save(_grey(mean), folder / "mean.png", config=config)
    _save(_grey(spread / max(float(spread.max()), 1e-6)), folder / "uncertainty.png", config=config, white=f"{float(spread.max()):.4f}")
    _save(_simple(wanted.given), folder / "without-a-model.png", config=config)
    return folder


def _drawing(config: Restore, given: Given, *, model: Model) -> Drawing:
    """Without a prompt nothing is guided by one."""
    from aquatint.generation.settings import Drawing

    is_told = model.bundle.told == "text"
    scale = {"scale": Drawing.model_fields["scale"].default if config.prompt else 1.0} if is_told else {}
    size = {} if model.bundle.is_framed else {"size": given.size_px}
    shared = {"prompt": config.prompt, "num": config.samples, "seed": config.seed, "steps": config.steps, "scheduler": config.scheduler}
    return Drawing.from_tree({**shared, **scale, **size})


def _plain(picture: Image) -> Image:
    """Grey where all three channels are the same."""
    red, green, blue = picture.convert("RGB").split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else picture


def _grey(values: NDArray[Any]) -> Image:
    """(H, W) or (H, W, 3) in [0, 1]."""
    from PIL.Image import fromarray

    return fromarray((values.clip(0, 1) * 255).round().astype("uint8"))


def _simple(given: Given) -> Image:
    from aquatint.data.transforms import to_image

    return _plain(to_image(given.simple[0].float().expand(3, -1, -1)))


def _save(picture: Image, path: Path, *, config: Restore, **more: str) -> None:
    import json

    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, value in {"software": "aquatint", "note": NO_DEVICE, "restored": json.dumps(config.model_dump(mode="json")), **more}.items():
        info.add_itxt(name, value)
    picture.save(path, pnginfo=info)


def _free(wanted: Path) -> Path:
    """Nothing is written over."""
    path, count = wanted, 1
    while path.exists():
        count += 1
        path = wanted.with_name(f"{wanted.name}-{count}")
    return path
