"""A folder of pictures, with captions beside them and in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aquatint.data.findings import Finding, counted, listed
from aquatint.data.masks import masks_among
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
    masks, lone = masks_among(listing.pictures)
    hidden = {mask for several in masks.values() for mask in several}
    listing = replace(listing, pictures=tuple(name for name in listing.pictures if name not in hidden)) if masks else listing
    captions, findings = written_captions(root, listing, images=images)
    places = {name: File(root / several[0]) for name, several in masks.items()}
    entries = tuple(Entry(name, File(root / name), captions.get(name), mask=places.get(name)) for name in listing.pictures)
    told = _of_masks(masks, lone, source=source) if images.masks == "use" else []
    return Offer(entries, (*listing.findings, *told), tuple(findings), (root,))


def _of_masks(masks: Mapping[str, Sequence[str]], lone: Sequence[str], *, source: str) -> list[Finding]:
    two = {name: several for name, several in masks.items() if len(several) > 1}
    findings = [Finding("error", name, f"has {len(several)} masks: {listed(several)}", "keep one") for name, several in two.items()]
    if lone:
        what = f"{counted(len(lone), 'mask')} without a picture, taken for pictures: {listed(lone)}"
        findings.append(Finding("warning", source, what, "remove them, or give them the name of their picture"))
    return findings
