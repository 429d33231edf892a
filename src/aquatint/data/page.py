"""A set of pictures as one HTML page: what is wrong with it, how it is shown, what its captions say. It loads nothing."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from PIL import Image

from aquatint.data.buckets import Size
from aquatint.data.diagnosis import CaptionTable, caption_table
from aquatint.data.findings import Finding, counted
from aquatint.data.records import ImageRecord
from aquatint.markup import Markup, document, element, joined

MAX_PICTURES = 300
"""On one page; those that something is said of come first."""
MAX_FINDINGS = 300
"""Spelled out for one level."""
MAX_ABREAST = 6
"""Pictures beside one finding."""
CELL_PX, SMALL_PX, QUALITY = 192, 112, 80
"""Longer sides of thumbnails, twice what the page shows for fine screens, and their JPEG quality: 300 make about 3 MB."""
LEVELS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
CSS = """
main{max-width:72rem}
h3{font-size:1rem;font-weight:500;margin:1.6rem 0 .7rem}h3 small{color:var(--soft);font-weight:400;margin-left:.4rem}
.finding{display:grid;grid-template-columns:11rem 1fr;gap:.2rem 1.2rem;padding:.8rem 0;border-bottom:1px solid var(--rule)}
.finding:last-child{border-bottom:0}
.finding p{margin:0;overflow-wrap:anywhere}
.abreast{display:flex;flex-wrap:wrap;gap:.3rem;align-content:flex-start}
.abreast img{height:3.4rem;width:auto;max-width:100%}
.abreast img:only-child{height:auto;max-height:4.6rem}
.level{display:inline-block;width:.6em;height:.6em;border-radius:50%;margin-right:.45em;background:var(--soft)}
.level.warning{background:var(--validation);border:0;padding:0}.level.error{background:#c62f2f}
.cells{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr));gap:1rem .8rem;align-items:end}
.cells img{width:100%;max-height:9rem;object-fit:contain;object-position:left bottom;background:none}
.cells figcaption{font-size:.76rem;line-height:1.35;margin-top:.3rem;overflow:hidden;display:-webkit-box;
 -webkit-line-clamp:3;-webkit-box-orient:vertical;overflow-wrap:anywhere}
.cells b{font-weight:500;color:var(--ink)}
.bar{display:block;height:.5rem;border-radius:1rem;background:var(--training)}
td.wide-cell{width:40%}td:first-child{text-align:left;padding-left:0;overflow-wrap:anywhere}
.shape-box{display:inline-block;border:1.5px solid var(--soft);border-radius:2px;vertical-align:middle}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:2rem;margin-top:1.6rem}
@media (max-width:640px){.finding{grid-template-columns:1fr}.pair{grid-template-columns:1fr}
 .cells{grid-template-columns:repeat(auto-fill,minmax(5rem,1fr))}}
"""

Thumbnails = Callable[[str], "Image.Image | None"]
"""Name of a picture -> RGB image of any size, or None if there is none to show."""


def page(
    records: Sequence[ImageRecord], *, sizes: Sequence[Size], findings: Sequence[Finding], thumbnail: Thumbnails, title: str
) -> str:
    """The HTML text. `sizes` holds (width, height) at which each record is shown; `thumbnail` is asked for at most
    `MAX_PICTURES` names of records.
    """
    flagged = {name for finding in findings for name in (finding.file, *finding.others)}
    chosen = sorted(_chosen([record.name for record in records], flagged))
    images = {records[place].name: _small(image, CELL_PX) for place in chosen if (image := thumbnail(records[place].name)) is not None}
    return document(
        f"{title} – aquatint",
        _header(title, records, sizes=sizes, findings=findings),
        *(_findings(level, findings, images=images) for level in LEVELS),
        _buckets(sizes),
        _captions(caption_table([record.caption for record in records])),
        _pictures([(records[place], sizes[place]) for place in chosen], images=images, flagged=flagged, num=len(records)),
        element("footer", "Written by aquatint."),
        css=CSS,
    )


def _chosen(names: Sequence[str], flagged: set[str]) -> list[int]:
    """Places of the pictures that are shown: those flagged, and of the others as many as there is room for, evenly spread."""
    first = [place for place, name in enumerate(names) if name in flagged][:MAX_PICTURES]
    others = [place for place, name in enumerate(names) if name not in flagged]
    num = min(MAX_PICTURES - len(first), len(others))
    return first + [others[index * len(others) // num] for index in range(num)]


def _header(title: str, records: Sequence[ImageRecord], *, sizes: Sequence[Size], findings: Sequence[Finding]) -> Markup:
    counts = Counter(finding.level for finding in findings)
    said = [counted(counts[level], level) for level in ("error", "warning", "note") if counts[level]] or ["nothing to mend"]
    lead = f"{counted(len(records), 'picture')} in {counted(len(set(sizes)), 'bucket')}: {', '.join(said)}."
    return element("header", element("h1", title), element("p", lead, class_="lead"))


def _findings(level: str, findings: Sequence[Finding], *, images: dict[str, Image.Image]) -> Markup:
    here = [finding for finding in findings if finding.level == level]
    if not here:
        return Markup()
    rows = [_finding(finding, images=images) for finding in here[:MAX_FINDINGS]]
    more = f"… and {len(here) - MAX_FINDINGS:,} more." if len(here) > MAX_FINDINGS else None
    heading = element("h2", element("span", Markup(" "), class_=f"level {level}"), f"{LEVELS[level]} ({len(here):,})")
    return element("section", heading, *rows, more and element("p", more, class_="soft"))


def _finding(finding: Finding, *, images: dict[str, Image.Image]) -> Markup:
    names = [name for name in (finding.file, *finding.others) if name in images][:MAX_ABREAST]
    shown = [_image(images[name], name, side_px=SMALL_PX) for name in names]
    words = [element("p", element("b", finding.file), " ", finding.what)]
    words += [element("p", finding.advice, class_="soft")] if finding.advice else []
    return element("div", element("div", *shown, class_="abreast") if shown else element("div"), element("div", *words), class_="finding")


def _buckets(sizes: Sequence[Size]) -> Markup:
    counts = Counter(sizes)
    if not counts:
        return Markup()
    most, tallest = max(counts.values()), max(max(size) for size in counts)
    rows = []
    for size, count in sorted(counts.items()):
        width, height = (max(3, round(34 * side / tallest)) for side in size)
        box = element("span", Markup(" "), class_="shape-box", style=f"width:{width}px;height:{height}px;margin-right:{48 - width}px")
        bar = element("span", Markup(" "), class_="bar", style=f"width:{max(1, round(100 * count / most))}%")
        cells = element("td", box, f"{size[0]} × {size[1]}"), element("td", f"{count:,}"), element("td", bar, class_="wide-cell")
        rows.append(element("tr", *cells))
    head = element("tr", element("th", "shown at, in pixels"), element("th", "pictures"), element("th"))
    return element("section", element("h2", "Buckets"), element("table", element("thead", head), element("tbody", *rows)))


def _captions(table: CaptionTable) -> Markup:
    if table.num_empty == table.num_pictures:
        return Markup()
    fewest, median, most = table.num_words
    facts = (("with a caption", f"{table.num_pictures - table.num_empty:,}", f"of {table.num_pictures:,}"),
             ("different", f"{table.num_different:,}", ""), ("words", f"{median}", f"{fewest} to {most}"))  # fmt: skip
    numbers = [element("div", element("dt", name), element("dd", value, " ", element("small", more))) for name, value, more in facts]
    tables = [_counts(title, rows) for title, rows in (("captions of several pictures", table.captions), ("frequent words", table.phrases))]
    return element("section", element("h2", "Captions"), element("dl", *numbers), element("div", *tables, class_="pair"))


def _counts(title: str, rows: Iterable[tuple[str, int]]) -> Markup:
    written = [element("tr", element("td", text), element("td", f"{count:,}")) for text, count in rows]
    if not written:
        return Markup()
    head = element("tr", element("th", title), element("th", "pictures"))
    return element("div", element("table", element("thead", head), element("tbody", *written)))


def _pictures(
    shown: Sequence[tuple[ImageRecord, Size]], *, images: dict[str, Image.Image], flagged: set[str], num: int
) -> Markup:
    if not shown:
        return Markup()
    by_size: dict[Size, list[Markup]] = {}
    for record, size in shown:
        if record.name in images:
            by_size.setdefault(size, []).append(_cell(record, images[record.name], is_flagged=record.name in flagged))
    parts = []
    for (width, height), cells in sorted(by_size.items()):
        heading = element("h3", f"{width} × {height}", element("small", counted(len(cells), "picture")))
        parts.append(joined(heading, element("div", *cells, class_="cells")))
    left = num - sum(map(len, by_size.values()))
    note = element("p", f"{counted(left, 'picture')} of {num:,} not shown.", class_="soft") if left else None
    return element("section", element("h2", "Pictures"), note, *parts)


def _cell(record: ImageRecord, image: Image.Image, *, is_flagged: bool) -> Markup:
    dot = element("span", Markup(" "), class_="level warning") if is_flagged else None
    words = joined(dot, element("b", record.name), " ", record.caption)
    picture = _image(image, record.name, side_px=CELL_PX)
    return element("figure", picture, element("figcaption", words), title=f"{record.width_px} × {record.height_px}: {record.caption}")


def _image(image: Image.Image, name: str, *, side_px: int) -> Markup:
    small, buffer = _small(image, side_px), io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return element("img", src=uri, alt=name, width=small.width, height=small.height)


def _small(image: Image.Image, side_px: int) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((side_px, side_px))
    return small
