"""What sources say of entries that cannot be used, and of themselves when nothing can."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aquatint.data.findings import BadData, Finding
from aquatint.data.places import Entry, Offer
from aquatint.data.settings import Images
from aquatint.data.tree import natural
from aquatint.names import near


def bad(file: str, what: str, *, advice: str, images: Images) -> Finding:
    """Of one entry that cannot be used: an error, unless such entries are to be skipped."""
    if images.skip_bad:
        return Finding("warning", file, f"skipped: {what}", advice)
    return Finding("error", file, what, f"{advice}; or go on without it by images.skip_bad=true")


def unusable(source: str, what: str, *, advice: str = "", others: Iterable[Finding] = ()) -> BadData:
    """The error of a source of which nothing can be used."""
    return BadData(Path(source), [*others, Finding("error", source, what, advice)])


def absent(source: str) -> BadData:
    """The error of a source that is not there, with a name like it if there is one beside."""
    path = Path(source).expanduser()
    try:
        match = near(path.name, (entry.name for entry in path.parent.iterdir()))
    except OSError:
        return unusable(source, "there is no such file or folder", advice=f"there is no {path.parent} either")
    return unusable(source, "there is no such file or folder", advice=f"did you mean {path.parent / match}?" if match else "")


def offer_of(source: str, entries: Iterable[Entry], *, findings: Iterable[Finding], folders: Iterable[Path] = ()) -> Offer:
    """In natural order. Raises BadData when there is not one entry."""
    ordered = sorted(entries, key=lambda entry: natural(entry.name))
    findings = tuple(findings)
    if ordered:
        return Offer(tuple(ordered), findings, folders=tuple(folders))
    if any(finding.level == "error" for finding in findings):
        raise BadData(Path(source), findings)
    raise unusable(source, "not one picture in it can be used", others=findings)


def shown(written: str) -> str:
    """What can be printed of it."""
    return written.encode("utf-8", "replace").decode()
