"""Which caption belongs to which picture, and every way in which that can go wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from aquatint.data.captions import (
    SIDECARS,
    TABLES,
    Row,
    caption_of,
    mention,
    same,
    sidecar_rows,
    stem_of,
    table_rows,
    words_of,
    words_of_folder,
)
from aquatint.data.findings import Finding, counted, listed
from aquatint.data.json_captions import json_rows
from aquatint.data.settings import Images
from aquatint.data.tree import Listing


def written_captions(source: Path, listing: Listing, *, images: Images) -> tuple[dict[str, str], list[Finding]]:
    """Name of each picture that has one -> its caption as it stands in files; and the findings."""
    by_stem: dict[str, list[str]] = {}
    for picture in listing.pictures:
        by_stem.setdefault(stem_of(picture), []).append(picture)
    beside = [name for name in listing.sidecars if stem_of(name) in by_stem]
    orphans = [name for name in listing.sidecars if stem_of(name) not in by_stem]
    rows, findings = sidecar_rows(source, [name for name in beside if not _is_json(name)], lines=images.caption_lines)
    found = [(picture, row) for row in rows for picture in by_stem[row.picture]]
    by_name = {same(picture): picture for picture in listing.pictures}
    for table in listing.tables:
        rows, problems = table_rows(source, table, column=images.caption_column, lines=images.caption_lines)
        findings += problems
        found += [(by_name[row.picture], row) for row in rows if row.picture in by_name]
        orphans += [row.place + f" ({row.picture})" for row in rows if row.picture not in by_name]
    said = {picture for picture, row in found if row.text}
    asked = [name for name in beside if _is_json(name) and not said.issuperset(by_stem[stem_of(name)])]
    rows, problems = json_rows(source, asked, images=images)
    found += [(picture, row) for row in rows for picture in by_stem[row.picture] if picture not in said]
    aside = {name for name in listing.sidecars if _is_json(name)} - {*asked}
    findings += [*problems, *_left(source, [name for name in orphans if name not in aside], aside=sorted(aside))]
    return _agreed(found, findings), findings


def check_captions(source: Path, written: Mapping[str, str | None], *, images: Images, trigger: str | None) -> list[Finding]:
    """What is to be said of settings that cannot be filled, and of pictures (name -> caption as written) without a caption."""
    given = {name: caption_of(text, name=name, trigger=trigger, template=images.template) for name, text in written.items()}
    without = {name for name, text in written.items() if not text}
    return [*_unused(images, trigger), *_missing(source, given, bare=without, images=images, trigger=trigger)]


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def stand_in(name: str, images: Images) -> str:
    """What is said of a picture by its name, or else by its folder, where that is asked for."""
    return (words_of(name) if images.caption_from_name else "") or (words_of_folder(name) if images.caption_from_folder else "")


def _left(source: Path, orphans: Sequence[str], *, aside: Sequence[str]) -> list[Finding]:
    """What was not read: captions of no picture, and .json files of pictures that have a caption elsewhere, or of none."""
    findings = []
    if orphans:
        findings.append(Finding("warning", str(source), f"{counted(len(orphans), 'caption')} without a picture: {listed(orphans)}"))
    if aside:
        what = f"{counted(len(aside), '.json file')} of no picture, or of one with a caption elsewhere, left aside: {listed(aside)}"
        findings.append(Finding("note", str(source), what))
    return findings


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
    if trigger is not None and "{trigger}" not in template and not mention(trigger).search(template):
        what = f"{template!r} has no {{trigger}}, so {trigger!r} would never be learned"
        return [Finding("error", "images.template", what, "add {trigger}")]
    if trigger is None and "{trigger}" in template:
        return [Finding("error", "images.template", f"{template!r} asks for a trigger and none is given", "give a trigger")]
    return []


def _missing(
    source: Path, given: Mapping[str, str | None], *, bare: Collection[str], images: Images, trigger: str | None
) -> list[Finding]:
    without = [name for name, caption in given.items() if not caption]
    if not given or (images.template is not None and "{trigger}" in images.template and trigger is None):
        return []
    if without and len(without) == len(given):
        return [_none_at_all(source, len(given), images=images)]
    if without:
        what = f"{counted(len(without), 'picture')} of {len(given):,} without a caption: {listed(without)}"
        if images.allow_missing_captions:
            return [Finding("warning", str(source), f"{what}; theirs is empty")]
        advice = "write them, or set images.captioner, images.caption_from_name or images.allow_missing_captions"
        return [Finding("error", str(source), what, advice)]
    if trigger is not None and images.template is None and 0 < len(bare) < len(given):
        names = [name for name in given if name in bare]
        first = names[0]
        what = f"{counted(len(bare), 'picture')} of {len(given):,} without a caption read {given[first]!r}: {listed(names)}"
        return [Finding("warning", str(source), what)]
    return []


def _none_at_all(source: Path, num_pictures: int, *, images: Images) -> Finding:
    looked = f": looked for {', '.join([*(f'<picture>{suffix}' for suffix in SIDECARS), *TABLES])}" if source.is_dir() else ""
    what = f"{counted(num_pictures, 'picture')} and not one caption{looked}"
    if images.allow_missing_captions:
        return Finding("warning", str(source), f"{what}; all are empty")
    advice = 'give a trigger (trigger="my cat"), or set images.caption_from_name=true'
    if images.caption_from_folder:
        advice = "put the pictures into folders that are named after what they show, or write captions"
    return Finding("error", str(source), what, advice)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
