"""Every picture is looked at once: decoded whole and measured. What was seen is kept for the next start, which is then quick."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL

from aquatint.data.kept import default_root
from aquatint.data.pictures import BadPicture, read_picture
from aquatint.data.places import Place

VERSION = f"1, Pillow {PIL.__version__}"
"""Of what is seen in a picture: looks of another version are not read."""
ENOUGH_PX = 256
"""What is measured is measured on this many pixels a side or more."""
AT_ONCE = 512
"""Looks are kept after so many: a scan that is killed goes on from there."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a whole decoding found out."""

    width_px: int
    """After orientation, as height_px; 0 for a picture that is none."""
    height_px: int
    mode: str
    """Pillow's name of what the file holds."""
    content_hash: str
    """SHA-256 of the bytes, hex."""
    remarks: tuple[str, ...] = ()
    reason: str = ""
    """Why it is no picture; empty for one that is."""
    advice: str = ""


def look_at(place: Place, *, matte: str = "white") -> Look:
    """Raises OSError where the bytes cannot be read."""
    content = place.read()
    content_hash = hashlib.sha256(content).hexdigest()
    try:
        picture = read_picture(place, matte=matte, content=content, enough_px=ENOUGH_PX)
    except BadPicture as bad:
        return Look(0, 0, "", content_hash, reason=bad.reason, advice=bad.advice)
    return Look(*picture.size, picture.mode, content_hash, picture.remarks)


def look_at_all(places: Sequence[Place], *, progress: Callable[[int, int], None] | None = None) -> list[Look | OSError]:
    """A look, or why the bytes cannot be read, for each place; those seen before are not read again.

    `progress` is told (looked at, of how many).
    """
    book, progress = LookBook(default_root() / "looks.sqlite3"), progress or (lambda done, total: None)
    signatures = [_signature(place) for place in places]
    found: dict[int, Look | OSError] = {i: signed for i, signed in enumerate(signatures) if isinstance(signed, OSError)}
    named = {i: signed for i, signed in enumerate(signatures) if isinstance(signed, str)}
    known = book.read(named.values())
    found |= {i: known[signed] for i, signed in named.items() if signed in known}
    missing = [i for i in range(len(places)) if i not in found]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(missing), AT_ONCE):
            progress(len(found), len(places))
            part = missing[start : start + AT_ONCE]
            looks = dict(zip(part, pool.map(lambda i: _attempt(places[i]), part), strict=True))
            found |= looks
            book.write({named[i]: look for i, look in looks.items() if isinstance(look, Look)})
    return [found[i] for i in range(len(places))]


class LookBook:
    """Signature of a place -> what was seen there, in one small database that several processes may use at once."""

    def __init__(self, path: Path):
        self._path = path

    def read(self, signatures: Iterable[str]) -> dict[str, Look]:
        """Of those that are known."""
        wanted = [_key(signature) for signature in signatures]
        if not self._path.is_file():
            return {}
        rows: list[tuple[str, str]] = []
        try:
            with closing(self._open()) as database:
                for start in range(0, len(wanted), AT_ONCE):
                    part = wanted[start : start + AT_ONCE]
                    rows += database.execute(f"SELECT key, look FROM looks WHERE key IN ({','.join('?' * len(part))})", part)
        except sqlite3.Error as error:
            self._told(error)
            return {}
        known = {key: _decoded(text) for key, text in rows}
        return {signature: known[_key(signature)] for signature in signatures if _key(signature) in known}

    def write(self, looks: Mapping[str, Look]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS looks (key TEXT PRIMARY KEY, look TEXT) WITHOUT ROWID")
                rows = [(_key(signature), json.dumps(asdict(look))) for signature, look in looks.items()]
                database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._told(error)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)

    def _told(self, error: Exception) -> None:
        warnings.warn(f"{self._path} cannot be used ({error}): pictures are looked at anew at every start", stacklevel=3)


def _attempt(place: Place) -> Look | OSError:
    try:
        return look_at(place)
    except OSError as error:
        return error


def _signature(place: Place) -> str | OSError:
    try:
        return place.signature()
    except OSError as error:
        return error


def _key(signature: str) -> str:
    return hashlib.blake2b(f"{VERSION}:{signature}".encode(), digest_size=20).hexdigest()


def _decoded(text: str) -> Look:
    values = json.loads(text)
    return Look(**{**values, "remarks": tuple(values["remarks"])})
