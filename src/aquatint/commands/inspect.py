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
from aquatint.ticker import Ticker

if TYPE_CHECKING:
    from PIL import Image
    from rich.table import Table
    from torch import Tensor

    from aquatint.data.buckets import Size
    from aquatint.data.findings import Finding
    from aquatint.data.places import Place
    from aquatint.data.records import ImageRecord
    from aquatint.data.transforms import Geometry
    from aquatint.training.events import Event

MAX_CROPPED_SHARE = 0.2
"""Beyond this, as beyond MAX_UPSCALE, a picture is warned of."""
PICTURES_ON_A_SHEET = ROWS = 200


class Inspect(Config):
    main: ClassVar[tuple[str, ...]] = ("data", "images.resolution", "images.template", "trigger", "out")
    positional: ClassVar[tuple[str, ...]] = ("data",)

    data: Path
    """Folder of pictures, with captions beside them if there are any; or a list, dataset, tar archives or a mix (docs/data.md)."""
    images: Images = Images()
    """How they are read and shown."""
    trigger: str | None = None
    """The word that the model is to learn."""
    resolution: int = Field(default=512, ge=8)
    """The model's own size in pixels; images.resolution goes before it."""
    base_multiple: int = Field(default=8, ge=1)
    """Sides must be divisible by this for the model."""
    out: Path | None = None
    """Where to write what was found, with pictures (HTML), or a contact sheet alone (PNG)."""
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
    """Yields the sheets drawn, a table of the pictures, the buckets, the findings, and where the page is.

    Raises BadData if there is no such folder, Unclean with exit code 2 for errors and, if strict, 1 for warnings.
    """
    from aquatint.data.buckets import samples
    from aquatint.data.diagnosis import diagnose
    from aquatint.data.findings import folded
    from aquatint.data.records import survey
    from aquatint.training.events import Noted

    _check_out(config, (), folders=[config.data])
    found = survey(config.data, config.images, trigger=config.trigger, needs_captions=False, progress=Ticker("looked at"))
    _check_out(config, found.records, folders=found.folders)
    shown = samples(found.records, config.images, resolution=config.resolution, multiple=config.base_multiple)
    for_eyes = dict.fromkeys(shown)  # once each, however often it is repeated
    records, sizes = [found.records[each.record] for each in for_eyes], [each.size for each in for_eyes]
    geometries = _geometries(records, sizes, images=config.images)
    if config.out is not None and not _is_page(config.out):
        yield from _sheets(config, records, sizes=sizes)
    yield _table(records[:ROWS], sizes[:ROWS], geometries=geometries[:ROWS])
    if len(records) > ROWS:
        yield f"and {len(records) - ROWS:,} more"
    for size, count in sorted(Counter(each.size for each in shown).items()):
        yield f"bucket {size[0]} x {size[1]}: {count}"
    written = {record.name: record.written for record in found.records}
    diagnosed = diagnose(found.records, trigger=config.trigger, written=written, source=str(config.data))
    findings = [*found.findings, *dict.fromkeys(_fitting(records, geometries)), *diagnosed]
    for finding in folded(findings):
        yield f"{finding.level}: {finding}"
    if config.out is not None and _is_page(config.out):
        _write_page(config, records, sizes=sizes, findings=findings)
        yield f"page: {config.out}"
    levels = {finding.level for finding in findings}
    if "error" in levels or ("warning" in levels and config.strict):
        raise Unclean(config.data, findings)
    if "warning" in levels:
        yield Noted(step=0, text=f"{config.data} can be trained on, but see the warnings above", is_warning=True)


def _geometries(records: Sequence[ImageRecord], sizes: Sequence[Size], *, images: Images) -> list[Geometry]:
    from aquatint.data.transforms import geometry_of, record_views

    pairs = zip(records, sizes, strict=True)
    return [geometry_of((r.width_px, r.height_px), record_views(r, size, images=images)[0]) for r, size in pairs]


def _seen(record: ImageRecord, size: Size, *, images: Images) -> Tensor:
    """The very pixels that training encodes; of several views the first."""
    from aquatint.data.transforms import load_pixels, record_views

    return load_pixels(record.place, record_views(record, size, images=images)[0])[0]


def _sheets(config: Inspect, records: Sequence[ImageRecord], *, sizes: Sequence[Size]) -> Iterator[str]:
    from aquatint.data.contact import contact_sheet

    assert config.out is not None
    for number, start in enumerate(range(0, len(records), PICTURES_ON_A_SHEET), 1):
        page = slice(start, start + PICTURES_ON_A_SHEET)
        seen = (_seen(record, size, images=config.images) for record, size in zip(records[page], sizes[page], strict=True))
        path = config.out if number == 1 else config.out.with_stem(f"{config.out.stem}_{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(seen, [record.caption or "(no caption)" for record in records[page]]).save(path, format="PNG")
        yield f"contact sheet: {path}"


def _check_out(config: Inspect, records: Sequence[ImageRecord], *, folders: Sequence[Path]) -> None:
    """The folder of a source is known beforehand, those of the pictures in a list or a mix when they were read."""
    if config.out is None:
        return
    if config.out.suffix.lower() != ".png" and not _is_page(config.out):
        raise AquatintError(f"out={config.out} must name an HTML or PNG file, such as {config.out / 'page.html'}")
    inside = next((folder for folder in folders if config.out.resolve().is_relative_to(folder.resolve())), None)
    if inside:
        raise AquatintError(f"out={config.out} lies inside {inside}, where nothing is ever written: choose another place")
    beside = next((record for record in records if _folder_of(record.place) == config.out.resolve().parent), None)
    if beside:
        raise AquatintError(f"out={config.out} lies beside {beside.name}, where nothing is ever written: choose another place")


def _folder_of(place: Place) -> Path | None:
    """That of a picture which is a file of its own."""
    from aquatint.data.places import File, Slice

    whole = place.whole if isinstance(place, Slice) else place
    return whole.path.resolve().parent if isinstance(whole, File) else None


def _is_page(out: Path) -> bool:
    return out.suffix.lower() in (".html", ".htm")


def _write_page(config: Inspect, records: Sequence[ImageRecord], *, sizes: Sequence[Size], findings: Sequence[Finding]) -> None:
    from aquatint.atomic import replacing
    from aquatint.data.page import page
    from aquatint.data.transforms import to_image

    shown = {record.name: (record, size) for record, size in zip(records, sizes, strict=True)}

    def as_seen(name: str) -> Image.Image:
        record, size = shown[name]
        return to_image(_seen(record, size, images=config.images))

    assert config.out is not None
    text = page(records, sizes=sizes, findings=findings, thumbnail=as_seen, title=config.data.resolve().name)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(config.out) as aside:
        aside.write_text(text, encoding="utf-8")


def _table(records: Sequence[ImageRecord], sizes: Sequence[Size], *, geometries: Sequence[Geometry]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from aquatint.data.findings import legible

    table = Table("file", "size", "mode", "bucket", "scale", "cropped", "caption")
    for record, size, geometry in zip(records, sizes, geometries, strict=True):
        num_ways = len(set(record.prompts))
        ways = f" [dim](1 of {num_ways} ways)[/dim]" if num_ways > 1 else ""
        table.add_row(
            escape(legible(record.name)), f"{record.width_px} x {record.height_px}", record.mode, f"{size[0]} x {size[1]}",
            f"{geometry.upscale:.2f}", f"{geometry.cropped_share:.0%}", escape(legible(record.caption)) + ways,
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
