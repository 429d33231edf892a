"""Every picture is looked at once: decoded whole and measured. What was seen is kept for the next start, which is then quick."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from aquatint.data.book import Book
from aquatint.data.measures import LOOKED_AT_PX, VERSION, Measures, measure
from aquatint.data.pictures import BadPicture, read_picture
from aquatint.data.places import Place, Slice

ENOUGH_PX = LOOKED_AT_PX
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
    """SHA-256 of the bytes, hex; of a slice with its number."""
    remarks: tuple[str, ...] = ()
    reason: str = ""
    """Why it is no picture; empty for one that is."""
    advice: str = ""
    measures: Measures | None = None
    """Of one that is."""


def look_at(place: Place, *, matte: str = "white") -> Look:
    """Raises OSError where the bytes cannot be read."""
    content = place.read()
    content_hash = _hash(place, content)
    try:
        picture = read_picture(place, matte=matte, content=content, enough_px=ENOUGH_PX)
    except BadPicture as bad:
        return Look(0, 0, "", content_hash, reason=bad.reason, advice=bad.advice)
    return Look(*picture.size, picture.mode, content_hash, picture.remarks, measures=measure(picture.image))


def read_again(place: Place, content_hash: str) -> bytes:
    """The bytes that were looked at; `content_hash` is the look's. Raises BadPicture where they are others by now, or gone."""
    try:
        content = place.read()
    except OSError as error:
        raise BadPicture(place, f"cannot be read any more ({error.strerror or error})", "put it back, or start again") from error
    if _hash(place, content) != content_hash:
        raise BadPicture(place, "is another than the one that was looked at", "start again; if that does not help, delete looks.sqlite3")
    return content


def look_at_all(places: Sequence[Place], *, progress: Callable[[int, int], None] | None = None) -> list[Look | OSError]:
    """A look, or why the bytes cannot be read, for each place; those seen before are not read again.

    `progress` is told (looked at, of how many).
    """
    book, found = Book(), list[Look | OSError]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(places), AT_ONCE):
            if progress:
                progress(start, len(places))
            part = places[start : start + AT_ONCE]
            signatures = [_signature(place) for place in part]
            named = [signed for signed in signatures if isinstance(signed, str)]
            known = {signed: _remembered(facts) for signed, facts in book.read(named).items()}
            new = {signed: place for signed, place in zip(signatures, part, strict=True) if isinstance(signed, str) and signed not in known}
            seen: dict[str, Look | OSError] = dict(zip(new, pool.map(_attempt, new.values()), strict=True))
            book.write({signed: asdict(look) for signed, look in seen.items() if isinstance(look, Look)})
            found += [signed if isinstance(signed, OSError) else known.get(signed) or seen[signed] for signed in signatures]
    return found


def _hash(place: Place, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() + (place.mark if isinstance(place, Slice) else "")


def _remembered(facts: Mapping[str, Any]) -> Look:
    measures = facts["measures"] and Measures(**{**facts["measures"], "corners": tuple(facts["measures"]["corners"])})
    return Look(**{**facts, "remarks": tuple(facts["remarks"]), "measures": measures})


def _attempt(place: Place) -> Look | OSError:
    try:
        return look_at(place)
    except OSError as error:
        return error


def _signature(place: Place) -> str | OSError:
    try:
        return f"look {VERSION}:{place.signature()}"
    except OSError as error:
        return error
