"""Masks: how much each part of a picture counts, from a grey picture beside it or from its own opacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from aquatint.data.findings import Finding, counted
from aquatint.data.looks import Look, look_at_all
from aquatint.data.pictures import open_picture, read_opacity
from aquatint.data.places import Entry, Place
from aquatint.data.settings import Images

MARKS = (".mask", "-masklabel")
"""What stands behind the name of a picture in that of its mask: `cat.png` and `cat.mask.png`."""
MOST_ASKEW = 0.02
"""By which the aspect of a mask may differ from its picture's, for sides are rounded when both are made smaller."""


@dataclass(frozen=True, slots=True)
class Mask:
    place: Place
    content_hash: str
    """Of its bytes, and of what is taken from them."""
    is_opacity: bool = False


def open_mask(mask: Mask) -> Image.Image:
    """Mode L, upright: white counts fully, black not at all. Raises BadPicture."""
    return read_opacity(mask.place) if mask.is_opacity else open_picture(mask.place, matte="black").convert("L")


def masks_among(names: Sequence[str]) -> dict[str, str]:
    """Name of a picture -> that of its mask, for those that have one."""
    by_stem = {str(PurePosixPath(name).with_suffix("")): name for name in names}
    pairs = ((by_stem.get(stem.removesuffix(mark)), name) for stem, name in by_stem.items() for mark in MARKS if stem.endswith(mark))
    return {picture: mask for picture, mask in pairs if picture}


def masks_of(entries: Sequence[Entry], looks: Sequence[Look], *, images: Images) -> tuple[list[Mask | None], list[Finding]]:
    """For each picture its mask, if masks are asked for and it has one; and what is wrong with them."""
    if images.masks == "ignore":
        return [None] * len(entries), []
    if images.masks == "opacity":
        return [Mask(entry.place, f"{look.content_hash} opacity", True) for entry, look in zip(entries, looks, strict=True)], []
    places = {index: entry.mask for index, entry in enumerate(entries) if entry.mask is not None}
    seen = dict(zip(places, look_at_all(list(places.values())), strict=True))
    findings: list[Finding] = []
    found: list[Mask | None] = [None] * len(entries)
    for index, look in seen.items():
        problem = _problem(look, looks[index])
        if problem:
            findings.append(Finding("error", entries[index].name, f"has a mask that {problem}", "mend it, or set images.masks=ignore"))
        elif isinstance(look, Look):
            found[index] = Mask(places[index], look.content_hash)
    if any(found):
        what = f"{counted(sum(map(bool, found)), 'mask')} beside {counted(len(entries), 'picture')}: what is black there is not learned"
        findings.append(Finding("note", "masks", what))
    return found, findings


def _problem(mask: Look | OSError, picture: Look) -> str:
    if isinstance(mask, OSError):
        return f"cannot be read ({mask.strerror or mask})"
    if mask.reason:
        return mask.reason
    aspect = (mask.width_px / mask.height_px) / (picture.width_px / picture.height_px)
    if abs(aspect - 1) > MOST_ASKEW:
        return f"is {mask.width_px} x {mask.height_px}, another shape than the picture's {picture.width_px} x {picture.height_px}"
    is_black = mask.measures is not None and mask.measures.tones == 0 and mask.measures.spread == 0
    return "is black everywhere: nothing of the picture would be learned" if is_black else ""
