"""Several sources as one: a .yaml list with a share for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from aquatint.config import Config, SettingsError
from aquatint.data.findings import BadData, Finding
from aquatint.data.places import Entry, Offer
from aquatint.data.settings import Images
from aquatint.data.sources.dataset import HUB
from aquatint.data.sources.refusals import absent, offer_of, unusable
from aquatint.plain_text import read_yaml, settle

SUFFIXES = (".yaml", ".yml")
EXAMPLE = "write a list of sources, each a line such as: - {data: photos, repeats: 2, weight: 0.5}"

_open: ContextVar[tuple[str, ...]] = ContextVar("mixes that are being read", default=())


class Source(Config):
    """One line of a mix."""

    data: str = Field(min_length=1)
    """Any source; paths are relative to the mix's own folder."""
    repeats: int = Field(default=1, ge=1)
    """Times each of its pictures counts, beside what it says itself."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Factor on the loss of its pictures."""
    caption_column: str | None = None
    """Column of its captions, in place of images.caption_column."""


def claims(source: str) -> bool:
    return source.lower().endswith(SUFFIXES) and not Path(source).is_dir()


def read(source: str, images: Images) -> Offer:
    """Entries of every source in the list, under its name. Raises BadData with the problems of all if one cannot be used."""
    path = Path(source).expanduser()
    if not path.is_file():
        raise absent(source)
    with _opened(path, source=source):
        lines, problems = _lines(path)
        entries: list[Entry] = []
        findings: list[Finding] = []
        folders: list[Path] = []
        for label, line in _labelled(lines):
            try:
                offer = _offer(line, path.parent, images=images)
            except BadData as error:
                problems += [_under(label, finding) for finding in error.findings]
                continue
            findings += [_under(label, finding) for finding in offer.findings]
            folders += offer.folders
            entries += [_shared(entry, label, line=line) for entry in offer.entries]
    if problems:
        raise BadData(path, [*problems, *findings])
    return offer_of(source, entries, findings=findings, folders=folders)


@contextmanager
def _opened(path: Path, *, source: str) -> Iterator[None]:
    """Raises BadData where a mix is met inside itself."""
    real, above = os.path.realpath(path), _open.get()
    if real in above:
        way = " -> ".join(Path(name).name for name in (*above[above.index(real) :], real))
        raise unusable(source, f"contains itself: {way}", advice="take it out of the list")
    token = _open.set((*above, real))
    try:
        yield
    finally:
        _open.reset(token)


def _lines(path: Path) -> tuple[list[Source], list[Finding]]:
    """The lines that are right, and what is wrong with the others. Raises BadData where there is no list."""
    content, problems = read_yaml(path)
    findings = [Finding("error", path.name, problem.removeprefix(f"{path}: ")) for problem in problems]
    if not isinstance(content, list) or not content:
        held = "holds nothing" if not content else f"holds a {type(content).__name__}, not a list"
        raise BadData(path, findings or [Finding("error", path.name, held, EXAMPLE)])
    lines = []
    for number, written in enumerate(content, 1):
        where, tree = f"{path.name}, source {number}", {"data": written} if isinstance(written, str) else written
        if not isinstance(tree, dict):
            findings.append(Finding("error", where, f"is {str(written)[:60]!r}", EXAMPLE))
            continue
        try:
            lines.append(Source.from_tree(settle(tree, Source)))
        except SettingsError as error:
            findings += [Finding("error", where, str(problem)) for problem in error.problems]
    return lines, findings


def _labelled(lines: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    """Each under the last part of its name; a name that was given before gets a number."""
    given: set[str] = set()
    for line in lines:
        name = Path(line.data.removeprefix(HUB)).name.replace(":", "-") or "data"
        label = next(label for label in _numbered(name) if label not in given)
        given.add(label)
        yield label, line


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _offer(line: Source, folder: Path, *, images: Images) -> Offer:
    from aquatint.data import sources

    own: dict[str, Any] = {"caption_column": line.caption_column} if line.caption_column else {}
    data = line.data if line.data.startswith(HUB) else str(folder / Path(line.data).expanduser())
    return sources.read(data, images.model_copy(update=own))


def _shared(entry: Entry, label: str, *, line: Source) -> Entry:
    return replace(entry, name=f"{label}/{entry.name}", repeats=entry.repeats * line.repeats, weight=entry.weight * line.weight)


def _under(label: str, finding: Finding) -> Finding:
    return finding if os.path.isabs(finding.file) else replace(finding, file=f"{label}/{finding.file}")
