"""Pictures inside a page: data URIs of a bounded size, and the samples of a run by prompt and step."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MAX_PNG_BYTES = 200_000
"""Above it a picture becomes a JPEG."""


@dataclass(frozen=True)
class Thumbnail:
    uri: str
    width_px: int
    height_px: int
    """Of the embedded picture."""
    text: Mapping[str, str]
    """The file's own words: prompt, seed, num_steps, scale."""


@dataclass(frozen=True)
class SampleRow:
    """One prompt over the run."""

    prompt: str
    seed: str
    by_step: Mapping[int, Thumbnail]


def thumbnail(path: Path, *, max_width_px: int) -> Thumbnail | None:
    """A picture, made narrower if it is wide; None when it is missing or cannot be read."""
    try:
        with Image.open(path) as image:
            text = {str(name): str(value) for name, value in image.info.items() if isinstance(value, str)}
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
    if picture.width > max_width_px:
        size = (max_width_px, max(1, round(picture.height * max_width_px / picture.width)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return Thumbnail(uri=_uri(picture), width_px=picture.width, height_px=picture.height, text=text)


def sample_rows(samples_dir: Path, *, max_steps: int = 8, max_width_px: int = 320) -> list[SampleRow]:
    """Rows of `step_*/NN.png`, in the order of the file names; of many steps, `max_steps` evenly chosen, first and last among them."""
    rows: dict[tuple[str, str], dict[int, Thumbnail]] = {}
    for step, folder in _spread(_step_folders(samples_dir), max_steps):
        for path in sorted(folder.glob("*.png")):
            if found := thumbnail(path, max_width_px=max_width_px):
                rows.setdefault((path.stem, found.text.get("prompt", "")), {})[step] = found
    return [
        SampleRow(prompt=prompt, seed=next(iter(by_step.values())).text.get("seed", ""), by_step=by_step)
        for (_, prompt), by_step in sorted(rows.items())
    ]


def _step_folders(samples_dir: Path) -> list[tuple[int, Path]]:
    found = [(path.name.removeprefix("step_"), path) for path in samples_dir.glob("step_*") if path.is_dir()]
    return sorted((int(digits), path) for digits, path in found if digits.isdecimal())


def _spread(folders: list[tuple[int, Path]], num: int) -> list[tuple[int, Path]]:
    if len(folders) <= num:
        return folders
    return [folders[round(index * (len(folders) - 1) / (num - 1))] for index in range(num)]


def _uri(picture: Image.Image) -> str:
    kind, data = "png", _encoded(picture, "PNG", optimize=True)
    if len(data) > MAX_PNG_BYTES:
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=88, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
