"""Which caption belongs to which picture, and every way in which that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from aquatint.data.captions import SIDECARS, TABLES, Row, caption_of, same, sidecar_rows, table_rows, words_of
from aquatint.data.findings import Finding, counted, listed
from aquatint.data.settings import Images
from aquatint.data.tree import Listing, natural


def written_captions(source: Path, listing: Listing, *, images: Images) -> tuple[dict[str, str], list[Finding]]:
    """Name of a picture -> its caption as it stands in a file; and orphans, quarrels and damage among them."""
    by_stem: dict[str, list[str]] = {}
    for picture in listing.pictures:
        by_stem.setdefault(same(str(PurePosixPath(picture).with_suffix(""))), []).append(picture)
    beside = [name for name in listing.sidecars if same(str(PurePosixPath(name).with_suffix(""))) in by_stem]
    orphans = sorted({*listing.sidecars} - {*beside}, key=natural)
    rows, findings = sidecar_rows(source, beside)
    found = [(picture, row) for row in rows for picture in by_stem[row.picture]]
    by_name = {same(picture): picture for picture in listing.pictures}
    for table in listing.tables:
        rows, problems = table_rows(source, table, column=images.caption_column)
        findings += problems
        found += [(by_name[row.picture], row) for row in rows if row.picture in by_name]
        orphans += [row.place + f" ({row.picture})" for row in rows if row.picture not in by_name]
    if orphans:
        findings.append(Finding("warning", str(source), f"{counted(len(orphans), 'caption')} without a picture: {listed(orphans)}"))
    return _agreed(found, findings), findings


def settled_captions(
    source: Path, written: Mapping[str, str | None], *, images: Images, trigger: str | None
) -> tuple[dict[str, str], list[Finding]]:
    """Name of each readable picture -> what the model reads, empty if nothing says; and what is to be said of it."""
    named = {name: words_of(name) for name in written} if images.caption_from_name else {}
    known = {name: text for name, caption in written.items() if (text := caption or named.get(name))}
    given = {name: caption_of(known.get(name), name=name, trigger=trigger, template=images.template) for name in written}
    findings = _unused(images, trigger) + _missing(source, given, written=known, images=images, trigger=trigger)
    return {name: caption or "" for name, caption in given.items()}, findings


def _agreed(found: Sequence[tuple[str, Row]], findings: list[Finding]) -> dict[str, str]:
    """One caption a picture; places that disagree are added to the findings."""
    by_picture: dict[str, list[Row]] = {}
    for picture, row in found:
        if row.text:
            by_picture.setdefault(picture, []).append(row)
    for picture, rows in by_picture.items():
        other = next((row for row in rows if row.text != rows[0].text), None)
        if other:
            what = f"has two captions: {_short(rows[0].text)} in {rows[0].place}, {_short(other.text)} in {other.place}"
            findings.append(Finding("error", picture, what, "keep one of them"))
    return {picture: rows[0].text for picture, rows in by_picture.items()}


def _unused(images: Images, trigger: str | None) -> list[Finding]:
    """Settings of captions that would change nothing, or cannot be filled."""
    template = images.template
    if template is None:
        return []
    if trigger is not None and "{trigger}" not in template:
        what = f"{template!r} has no {{trigger}}, so {trigger!r} would never be learned"
        return [Finding("error", "images.template", what, "add {trigger}")]
    if trigger is None and "{trigger}" in template:
        return [Finding("error", "images.template", f"{template!r} asks for a trigger and none is given", "give a trigger")]
    return []


def _missing(
    source: Path, given: Mapping[str, str | None], *, written: Mapping[str, str], images: Images, trigger: str | None
) -> list[Finding]:
    without, bare = [name for name, caption in given.items() if not caption], [name for name in given if name not in written]
    if not given or (images.template is not None and "{trigger}" in images.template and trigger is None):
        return []
    if without and len(without) == len(given):
        return [_none_at_all(source, len(given), images=images)]
    if without:
        what = f"{counted(len(without), 'picture')} of {len(given):,} without a caption: {listed(without)}"
        if images.allow_missing_captions:
            return [Finding("warning", str(source), f"{what}; theirs is empty")]
        return [Finding("error", str(source), what, "write them, or set images.allow_missing_captions or images.caption_from_name")]
    if trigger is not None and images.template is None and 0 < len(bare) < len(given):
        what = f"{counted(len(bare), 'picture')} of {len(given):,} without a caption read {given[bare[0]]!r}: {listed(bare)}"
        return [Finding("warning", str(source), what)]
    return []


def _none_at_all(source: Path, num_pictures: int, *, images: Images) -> Finding:
    looked = ", ".join([*(f"<picture>{suffix}" for suffix in SIDECARS), *TABLES])
    what = f"{counted(num_pictures, 'picture')} and not one caption: looked for {looked}"
    if images.allow_missing_captions:
        return Finding("warning", str(source), f"{what}; all are empty")
    return Finding("error", str(source), what, 'give a trigger (trigger="my cat"), or set images.caption_from_name=true')


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
