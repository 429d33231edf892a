"""A folder of pictures, with captions beside them and in tables."""

from __future__ import annotations

from pathlib import Path

from aquatint.data.matching import written_captions
from aquatint.data.places import Entry, File, Offer
from aquatint.data.settings import Images
from aquatint.data.tree import list_files


def claims(source: str) -> bool:
    """Whatever nobody else does: a folder, or something that is not there and might have been one."""
    return True


def read(source: str, images: Images) -> Offer:
    """Every picture below it. Raises BadData if there is no such folder."""
    root = Path(source)
    listing = list_files(root)
    captions, findings = written_captions(root, listing, images=images)
    entries = tuple(Entry(name, File(root / name), captions.get(name)) for name in listing.pictures)
    return Offer(entries, listing.findings, tuple(findings))
