"""Masks: how much each part of a picture counts, from a grey picture beside it or from its own opacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from aquatint.data.captions import stem_of
from aquatint.data.findings import Finding, counted
from aquatint.data.looks import Look, look_at_all, read_again
from aquatint.data.pictures import read_opacity, read_picture
from aquatint.data.places import Entry, Place, Slice
from aquatint.data.settings import Images

MARKS = (".mask", "-masklabel")
"""What stands behind the name of a picture in that of its mask: `cat.png` and `cat.mask.png`."""
OPACITY = " opacity"
MOST_ASKEW = 0.02
"""By which the aspect of a mask may differ from its picture's, for sides are rounded when both are made smaller."""


@dataclass(frozen=True, slots=True)
class Mask:
    place: Place
    content_hash: str
    """Of its bytes, and of what is taken from them."""
    is_opacity: bool = False


def open_mask(mask: Mask) -> Image.Image:
    """Mode L, upright: white counts fully, black not at all. Raises BadPicture, also where it changed since it was looked at."""
    content = read_again(mask.place, mask.content_hash.removesuffix(OPACITY))
    if mask.is_opacity:
        return read_opacity(mask.place, content=content)
    return read_picture(mask.place, matte="black", content=content).image.convert("L")


def masks_among(names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Name of a picture -> those of its masks, which should be one, for pictures that have any; and masks of no picture.

    Marks count in any case. Pictures that differ in their suffix alone share masks, as they share captions.
    """
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(stem_of(name), []).append(name)
    found: dict[str, list[str]] = {}
    lone = []
    for stem, masks in by_stem.items():
        mark = next((mark for mark in MARKS if stem.lower().endswith(mark)), None)
        pictures = by_stem.get(stem[: -len(mark)], []) if mark else []
        lone += masks if mark and not pictures else []
        for picture in pictures:
            found.setdefault(picture, []).extend(masks)
    return found, lone


def masks_of(entries: Sequence[Entry], looks: Sequence[Look], *, images: Images) -> tuple[list[Mask | None], list[Finding]]:
    """For each picture its mask, if masks are asked for and it has one; and what is wrong with them."""
    if images.masks == "ignore":
        return [None] * len(entries), []
    if images.masks == "opacity":
        pairs = zip(entries, looks, strict=True)  # scans are opaque
        return [None if isinstance(e.place, Slice) else Mask(e.place, look.content_hash + OPACITY, True) for e, look in pairs], []
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
