"""Which columns of a list or a dataset are read, and what may stand in them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aquatint.data.captions import COLUMNS, same
from aquatint.data.findings import Finding, listed
from aquatint.data.settings import Images
from aquatint.data.sources.refusals import shown
from aquatint.data.tree import is_text

PICTURES = ("file_name", "path", "image", "file", "image_path", "filename", "file_path", "filepath", "image_file", "img", "img_path")
"""Names under which a list's pictures are looked for, in this order."""
MASK = "mask"
SHARES = ("weight", "repeats")


def caption_column(known: Sequence[str], *, file: str, images: Images, taken: Iterable[str]) -> tuple[str | None, list[Finding]]:
    """The column of captions, or None; without any, the rest of the columns is told (`taken` are those read for other things)."""
    asked = images.caption_column
    if asked is not None:
        if asked in known:
            return asked, []
        return None, [Finding("error", file, f"has no column {asked!r}, but {listed(known)}", "choose one by images.caption_column")]
    chosen = [name for name in COLUMNS if name in known]
    if len(chosen) > 1:
        what = f"captions are read from {chosen[0]!r}, not {chosen[1]!r}"
        return chosen[0], [Finding("note", file, what, "choose by images.caption_column")]
    others = [name for name in known if name not in {*taken, MASK, *SHARES}]
    if chosen or not others:
        return chosen[0] if chosen else None, []
    what = f"no captions are read: there is no column {', '.join(COLUMNS)}, but {listed(others)}"
    return None, [Finding("warning", file, what, "choose one by images.caption_column")]


def caption_in(record: Mapping[str, Any], column: str | None, *, lines: str) -> str | None:
    """As written, lines kept apart; of a list of texts one a line, or the first unless lines are chosen from (`choose`).

    Raises ValueError for what is no text.
    """
    value = record.get(column) if column else None
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        value = "\n".join(" ".join(text.split()) for text in value[: None if lines == "choose" else 1])
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{column!r} is {_short(value)}, not a text")
    if value is not None and not is_text(value):
        raise ValueError(f"{column!r} holds half a character: {shown(value)[:60]}")
    return (value or "").strip() or None


def shares_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """`weight` and `repeats` where they are given. Raises ValueError for what is no such number."""
    shares: dict[str, Any] = {}
    for name in SHARES:
        written = record.get(name)
        if written is None or (isinstance(written, str) and not written.strip()):
            continue
        number = _number(written)
        is_whole = number is not None and number == int(number)
        if number is None or number <= 0 or (name == "repeats" and not is_whole):
            raise ValueError(f"{name!r} is {_short(written)}, not a {'whole ' if name == 'repeats' else ''}number above 0")
        shares[name] = int(number) if name == "repeats" else number
    return shares


def file_in(root: Path, written: str) -> Path | None:
    """The file that a list means: below the list's folder or absolute, in the spelling that the disk has; None if there is none."""
    for name in dict.fromkeys((written, written.replace("\\", "/"))):
        for spelled in dict.fromkeys((name, same(name), _apart(name))):
            path = root / spelled
            try:
                if path.is_file():
                    return path
            except (OSError, ValueError):  # a name too long, a zero byte
                return None
    return None


def below(path: str) -> str:
    """A name that some list gives a picture, as one that stays inside: without root, drive and ways up."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return "/".join(part for part in parts if part not in ("/", "..") and not part.endswith(":"))


def _number(written: Any) -> float | None:
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        return None
    try:
        number = float(written)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _apart(name: str) -> str:
    """With accents apart, as macOS stores names."""
    return unicodedata.normalize("NFD", name)


def _short(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:60]
