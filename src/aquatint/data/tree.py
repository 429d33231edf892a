"""What lies in a folder: pictures, captions, and the rest. Nothing is ever written here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from aquatint.data import scans
from aquatint.data.captions import SIDECARS, TABLES
from aquatint.data.findings import BadData, Finding, listed
from aquatint.data.pictures import SUFFIXES

JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})
"""Left behind by systems, beside everything whose name begins with a dot."""
UNREAD = frozenset((
    ".heic", ".heif", ".svg", ".psd", ".pdf", ".tga", ".ico", ".eps", ".jxl", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw",
    ".raf", ".mp4", ".mov", ".zip",
))  # fmt: skip
"""Things that a user may take for pictures, and are not read."""


@dataclass(frozen=True)
class Listing:
    """Names relative to the source, posix, in natural order."""

    pictures: tuple[str, ...]
    sidecars: tuple[str, ...]
    tables: tuple[str, ...]
    findings: tuple[Finding, ...]


def list_files(source: Path) -> Listing:
    """Everything below `source`, junk left out. Raises BadData if there is no such folder."""
    if not source.is_dir():
        raise BadData(source, [_no_folder(source)])
    findings: list[Finding] = []
    names = sorted(_walk(source, findings), key=natural)
    kinds: dict[str, list[str]] = {"picture": [], "sidecar": [], "table": [], "unread": [], "other": []}
    for name in names:
        kinds[_kind(source, name)].append(name)
    if kinds["unread"]:
        findings.append(Finding("warning", str(source), f"not read: {listed(kinds['unread'])}", "export them as PNG or JPEG"))
    if kinds["other"]:
        findings.append(Finding("note", str(source), f"neither pictures nor captions, left aside: {listed(kinds['other'])}"))
    if not kinds["picture"]:
        findings.append(_no_pictures(source))
    return Listing(tuple(kinds["picture"]), tuple(kinds["sidecar"]), tuple(kinds["table"]), tuple(findings))


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorting key: `2.png` before `10.png`, capitals beside small letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)], name


def _walk(source: Path, findings: list[Finding]) -> Iterator[str]:
    """Names of files. A folder is read once, and rather by its own name than through a link: links go round, and multiply."""
    folders, links, again = [""], list[str](), list[str]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        folder = folders.pop() if folders else links.pop()
        try:
            status = os.stat(source / folder)
            is_known = (status.st_dev, status.st_ino) in seen
            entries = [] if is_known else list(os.scandir(source / folder))
        except OSError as error:
            findings.append(Finding("error", folder or str(source), f"cannot be opened ({error.strerror})", "make it readable"))
            continue
        again += [folder] if is_known else []
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            what = _what(entry, name)
            if what == "folder":
                (links if entry.is_symlink() else folders).append(name)
            elif what == "file":
                yield name
            elif isinstance(what, Finding):
                findings.append(what)
    if again:
        findings.append(Finding("note", str(source), f"lead to folders that are read already, left aside: {listed(again)}"))


def _what(entry: os.DirEntry[str], name: str) -> Finding | str:
    """`folder`, `file`, `junk`, or what is wrong with it."""
    if entry.name.startswith(".") or entry.name.lower() in JUNK:
        return "junk"
    if not is_text(name):
        shown = os.fsencode(name).decode("utf-8", "replace")
        return Finding("error", shown, "has a name that is not UTF-8", "rename it")
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError as error:  # a link to itself, or to where one may not look
        return Finding("error", name, f"cannot be followed ({error.strerror})", "remove it, or mend the link")
    return Finding("error", name, "is a link to nothing or a special file", "remove it, or mend the link")


def _kind(source: Path, name: str) -> str:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if path.name.lower() in TABLES:
        return "table"
    if suffix in SUFFIXES:
        return "picture"
    if suffix in SIDECARS:
        return "sidecar"
    if scans.is_scan(name) or (suffix not in UNREAD and scans.is_scan(name, head_of(source / name))):
        return "picture"
    return "unread" if suffix in UNREAD else "other"


def head_of(file: Path) -> bytes:
    """As much as tells what a file without a telling name is."""
    if file.suffix and not file.suffix[1:].isdigit():
        return b""
    try:
        with file.open("rb") as opened:
            return opened.read(scans.HEAD_BYTES)
    except OSError:
        return b""


def is_text(name: str) -> bool:
    """Whether it can be stored as UTF-8; names and JSON may hold halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_folder(source: Path) -> Finding:
    if source.exists():
        return Finding("error", str(source), "is a file, not a folder", "give the folder that holds the pictures")
    return Finding("error", str(source), "there is no such folder", _near(source))


def _no_pictures(source: Path) -> Finding:
    looked = " ".join(sorted(SUFFIXES))
    return Finding("error", str(source), f"no pictures: looked in it and the folders below for {looked}", _near(source))


def _near(source: Path) -> str:
    """Folders beside this one with a name like it."""
    absolute = Path(os.path.abspath(source))
    try:
        beside = [entry.name for entry in os.scandir(absolute.parent) if entry.is_dir() and entry.name != absolute.name]
    except OSError:
        return f"there is no {absolute.parent} either" if not absolute.parent.exists() else ""
    lowered = {name.lower(): name for name in beside if not name.startswith(".")}
    near = [lowered[name] for name in get_close_matches(absolute.name.lower(), lowered, n=3)]
    return f"did you mean {' or '.join(str(source.parent / name) for name in near)}?" if near else ""
