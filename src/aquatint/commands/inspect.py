"""Show exactly the pictures and captions that a model will see, and everything that is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from aquatint.config import Config
from aquatint.data.settings import Images
from aquatint.errors import AquatintError

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from aquatint.data.buckets import Size
    from aquatint.data.findings import Finding
    from aquatint.data.records import ImageRecord
    from aquatint.data.transforms import Geometry
    from aquatint.training.events import Event

MAX_CROPPED_SHARE = 0.2
"""Beyond this, as beyond MAX_UPSCALE, a picture is warned of."""
PICTURES_ON_A_SHEET = 200


class Inspect(Config):
    main: ClassVar[tuple[str, ...]] = ("data", "images.resolution", "images.template", "trigger", "out")
    positional: ClassVar[tuple[str, ...]] = ("data",)

    data: Path
    """Folder of pictures."""
    images: Images = Images()
    """How they are read and shown."""
    trigger: str | None = None
    """The word that the model is to learn."""
    resolution: int = Field(default=512, ge=8)
    """The model's own size in pixels; images.resolution goes before it."""
    base_multiple: int = Field(default=8, ge=1)
    """Sides must be divisible by this for the model."""
    out: Path | None = None
    """Where to write a contact sheet (PNG)."""
    strict: bool = False
    """Warnings end with exit code 1."""


class Unclean(AquatintError):
    """There is something to mend; it was listed before."""

    def __init__(self, data: Path, findings: Sequence[Finding]):
        from aquatint.data.findings import counted

        counts = Counter(finding.level for finding in findings)
        self.exit_code = 2 if counts["error"] else 1
        said = [counted(counts[level], level) for level in ("error", "warning") if counts[level]]
        super().__init__(f"{' and '.join(said)} in {data}, listed above")


def run(config: Inspect) -> Iterator[Event | Table | str]:
    """Yields the sheets drawn, a table of the pictures, the buckets, and the findings.

    Raises BadData if there is no such folder, Unclean with exit code 2 for errors and, if strict, 1 for warnings.
    """
    from aquatint.data.buckets import samples
    from aquatint.data.records import survey
    from aquatint.training.events import Noted

    _check_out(config)
    found = survey(config.data, config.images, trigger=config.trigger, needs_captions=False)
    shown = samples(found.records, config.images, resolution=config.resolution, multiple=config.base_multiple)
    records, sizes = [found.records[each.record] for each in shown], [each.size for each in shown]
    geometries: list[Geometry] = []
    yield from _look(config, records, sizes=sizes, geometries=geometries)
    yield _table(records, sizes, geometries=geometries)
    for size, count in sorted(Counter(sizes).items()):
        yield f"bucket {size[0]} x {size[1]}: {count}"
    findings = [*found.findings, *_fitting(records, geometries)]
    for finding in findings:
        yield f"{finding.level}: {finding}"
    levels = {finding.level for finding in findings}
    if "error" in levels or ("warning" in levels and config.strict):
        raise Unclean(config.data, findings)
    if "warning" in levels:
        yield Noted(step=0, text=f"{config.data} can be trained on, but see the warnings above", is_warning=True)


def _look(config: Inspect, records: Sequence[ImageRecord], *, sizes: Sequence[Size], geometries: list[Geometry]) -> Iterator[str]:
    """Load each picture as training does, note its geometry, and draw it if a sheet is asked for."""
    from aquatint.data.contact import contact_sheet
    from aquatint.data.transforms import load_pixels, record_views

    def pixels(start: int) -> Iterator[Tensor]:
        page = slice(start, start + PICTURES_ON_A_SHEET)
        for record, size in zip(records[page], sizes[page], strict=True):
            tensor, geometry = load_pixels(record.place, record_views(record, size, images=config.images)[0])
            geometries.append(geometry)
            yield tensor

    for number, start in enumerate(range(0, len(records), PICTURES_ON_A_SHEET), 1):
        if config.out is None:
            for _ in pixels(start):
                pass
            continue
        captions = [record.caption or "(no caption)" for record in records[start : start + PICTURES_ON_A_SHEET]]
        path = config.out if number == 1 else config.out.with_stem(f"{config.out.stem}_{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pixels(start), captions).save(path, format="PNG")
        yield f"contact sheet: {path}"


def _check_out(config: Inspect) -> None:
    if config.out is None:
        return
    if config.out.suffix.lower() != ".png":
        raise AquatintError(f"out={config.out} must name a PNG file, such as {config.out / 'contact.png'}")
    if config.out.resolve().is_relative_to(config.data.resolve()):
        raise AquatintError(f"out={config.out} lies inside {config.data}, where nothing is ever written: choose another place")


def _table(records: Sequence[ImageRecord], sizes: Sequence[Size], *, geometries: Sequence[Geometry]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("file", "size", "mode", "bucket", "scale", "cropped", "caption")
    for record, size, geometry in zip(records, sizes, geometries, strict=True):
        table.add_row(
            escape(record.name), f"{record.width_px} x {record.height_px}", record.mode, f"{size[0]} x {size[1]}",
            f"{geometry.upscale:.2f}", f"{geometry.cropped_share:.0%}", escape(record.caption),
        )  # fmt: skip
    return table


def _fitting(records: Sequence[ImageRecord], geometries: Sequence[Geometry]) -> list[Finding]:
    """Pictures that lose much by enlarging or cropping."""
    from aquatint.data.buckets import MAX_UPSCALE
    from aquatint.data.findings import Finding

    findings = []
    for record, geometry in zip(records, geometries, strict=True):
        if geometry.upscale > MAX_UPSCALE:
            what = f"is enlarged {geometry.upscale:.2f} times"
            findings.append(Finding("warning", record.name, what, "find a larger one, or lower images.resolution"))
        if geometry.cropped_share > MAX_CROPPED_SHARE:
            what = f"loses {geometry.cropped_share:.0%} of its area"
            findings.append(Finding("warning", record.name, what, "crop it by hand, or use buckets"))
    return findings
