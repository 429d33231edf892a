"""Files that hold several pictures, as scans do, become an entry for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aquatint.data import scans
from aquatint.data.book import Book
from aquatint.data.findings import Finding
from aquatint.data.places import Entry, File, Place, Slice
from aquatint.data.settings import Images
from aquatint.data.tree import head_of

Cut = tuple[Sequence[int], Sequence[str]]
"""Numbers of the pictures in a file, and remarks."""
UNREADABLE: Cut = (0,), ()
"""Whoever looks at the first picture is told why there is none."""


def unfolded(entries: Sequence[Entry], images: Images) -> tuple[list[Entry], list[Finding]]:
    """The entries, with all pictures of a scan in the place of the scan; and what is to be said of the scans."""
    wanted = [index for index, entry in enumerate(entries) if _is_scan(entry)]
    if not wanted:
        return list(entries), []
    cuts = dict(zip(wanted, _cuts([entries[index].place for index in wanted], images), strict=True))
    found: list[Entry] = []
    findings = []
    for index, entry in enumerate(entries):
        numbers, remarks = cuts.get(index, ((), ()))
        found += _slices(entry, numbers, images=images) if index in cuts else [entry]
        findings += [Finding("note", entry.name, remark) for remark in remarks]
    return found, findings


def _is_scan(entry: Entry) -> bool:
    """By the name of the file: that of the entry may have a number behind."""
    if isinstance(entry.place, File):
        return scans.is_scan(entry.place.path.name, head_of(entry.place.path))
    return scans.is_scan(entry.name)


def _cuts(places: Sequence[Place], images: Images) -> list[Cut]:
    book = Book()
    signatures = [_signature(place, images) for place in places]
    known: dict[str, Cut] = book.read([signature for signature in signatures if signature])
    new = {signature: place for signature, place in zip(signatures, places, strict=True) if signature and signature not in known}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cuts = dict(zip(new, pool.map(lambda place: _cut(place, images), new.values()), strict=True))
    book.write({signature: cut for signature, cut in cuts.items() if cut is not UNREADABLE})
    known |= cuts
    return [known.get(signature, UNREADABLE) for signature in signatures]


def _signature(place: Place, images: Images) -> str:
    """Empty where there is nothing to be read."""
    try:
        return f"frames:{images.slices}:{images.window}:{place.signature()}"
    except OSError:
        return ""


def _cut(place: Place, images: Images) -> Cut:
    try:
        cut = scans.frames(place.read(), place.suffix, axis=images.slices, window=images.window)
    except (OSError, scans.UnreadableScan):
        return UNREADABLE
    empty = [] if cut.numbers else ["holds no picture on which anything is to be seen"]
    return list(cut.numbers), [*cut.remarks, *empty]


def _slices(entry: Entry, numbers: Sequence[int], *, images: Images) -> list[Entry]:
    """Named by the scan, and by their number where there are several."""
    places = {number: Slice(entry.place, number, images.slices, images.window) for number in numbers}
    return [replace(entry, name=f"{entry.name}#{n}" if len(numbers) > 1 else entry.name, place=place) for n, place in places.items()]
