"""A source read once, whole: records to train on, and everything a user should know about the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aquatint.data import sources
from aquatint.data.findings import BadData, Finding
from aquatint.data.looks import Look, look_at_all
from aquatint.data.masks import Mask, masks_of
from aquatint.data.matching import check_captions, stand_in
from aquatint.data.measures import Measures
from aquatint.data.pictures import open_picture
from aquatint.data.places import Entry, Place, Slice
from aquatint.data.renditions import renditions
from aquatint.data.settings import Images
from aquatint.data.volumes import unfolded

__all__ = ["BadData", "Finding", "ImageRecord", "Scan", "scan", "survey"]

Progress = Callable[[int, int], None]
"""(done, of how many)"""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture to train on."""

    place: Place
    """Where its bytes are read from."""
    name: str
    """Within its source, posix; relative to a folder."""
    caption: str
    """What the model reads: trigger and template applied; the first of its renditions."""
    width_px: int
    """After orientation, as height_px."""
    height_px: int
    content_hash: str
    """SHA-256 of the file's bytes, hex."""
    weight: float = 1.0
    """Of its loss, > 0."""
    mode: str = "RGB"
    """Pillow's name of what the file holds."""
    repeats: int = 1
    """How often it is shown where others are shown once."""
    mask: Mask | None = None
    """Where it counts; everywhere without one."""
    written: str | None = None
    """Its caption as it stands in the source."""
    measures: Measures | None = None
    """What its pixels tell."""
    renditions: tuple[str, ...] = ()
    """What the model may read instead, equally often, the caption among them; empty for the caption alone."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """All that the model may read."""
        return self.renditions or (self.caption,)


@dataclass(frozen=True)
class Scan:
    records: tuple[ImageRecord, ...]
    """In natural order of their names."""
    findings: tuple[Finding, ...]
    folders: tuple[Path, ...] = ()
    """Read with all that lies in them."""

    @property
    def has_errors(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)


def scan(
    source: Path, images: Images, *, trigger: str | None = None, needs_captions: bool = True, reads_captions: bool = True,
    progress: Progress | None = None,
) -> Scan:  # fmt: skip
    """Every picture of a source, fully decoded once, with its caption. Raises BadData with all problems at once.

    Unless it `reads_captions`, whatever they say is left aside, and all are empty.
    """
    found = survey(
        source, images, trigger=trigger, needs_captions=needs_captions, reads_captions=reads_captions, progress=progress
    )
    if found.has_errors:
        raise BadData(source, found.findings)
    return found


def survey(
    source: Path, images: Images, *, trigger: str | None = None, needs_captions: bool = True, reads_captions: bool = True,
    progress: Progress | None = None,
) -> Scan:  # fmt: skip
    """As `scan`, but errors are findings beside the pictures that are good. Raises BadData only if there is no such source."""
    offer = sources.read(str(source), images)
    offered, findings = unfolded(offer.entries, images)
    looks = look_at_all([entry.place for entry in offered], progress=progress)
    findings += dict.fromkeys(finding for entry, look in zip(offered, looks, strict=True) for finding in _told(entry, look, images=images))
    good = [(entry, look) for entry, look in zip(offered, looks, strict=True) if isinstance(look, Look) and not look.reason]
    if offered and not good and images.skip_bad:
        findings.append(Finding("error", str(source), f"not one of {len(offered):,} pictures can be read"))
    seen = [look for _, look in good]
    entries, described = _described([entry for entry, _ in good], seen, images=images) if reads_captions else (_silent(good), [])
    masks, masked = masks_of(entries, seen, images=images)
    written = {entry.name: entry.caption for entry in entries}
    more = [*offer.of_captions, *check_captions(source, written, images=images, trigger=trigger)] if reads_captions else []
    if not needs_captions:
        more = [replace(finding, level="warning") if finding.level == "error" else finding for finding in more]
    records = tuple(
        _record(entry, look, mask=mask, told=renditions(entry.caption, images, name=entry.name, trigger=trigger))
        for entry, look, mask in zip(entries, seen, masks, strict=True)
    )
    return Scan(records, (*offer.findings, *findings, *described, *masked, *more), offer.folders)


def _silent(good: Sequence[tuple[Entry, Look]]) -> list[Entry]:
    return [replace(entry, caption=None) for entry, _ in good]


def _described(entries: Sequence[Entry], looks: Sequence[Look], *, images: Images) -> tuple[list[Entry], list[Finding]]:
    """Captions from names, folders and the captioner, where they are asked for and none is written."""
    named = [entry if entry.caption else replace(entry, caption=stand_in(entry.name, images) or None) for entry in entries]
    if not images.captioner:
        return named, []
    from aquatint.data.captioner import Captioner, fill

    hashes = [look.content_hash for look in looks]
    return fill(named, Captioner(images.captioner), hashes=hashes, opened=lambda entry: open_picture(entry.place, matte=images.matte))


def _record(entry: Entry, look: Look, *, mask: Mask | None, told: tuple[str, ...]) -> ImageRecord:
    return ImageRecord(
        entry.place, entry.name, told[0], look.width_px, look.height_px, look.content_hash, entry.weight, look.mode,
        entry.repeats, mask, entry.caption, look.measures, told,
    )  # fmt: skip


def _told(entry: Entry, look: Look | OSError, *, images: Images) -> Sequence[Finding]:
    """What is to be said of a picture; a remark that holds for all slices of a volume is one of the volume."""
    name = entry.name
    if isinstance(look, OSError):
        return [_bad(name, f"cannot be read ({look.strerror or look})", advice="make it readable", images=images)]
    if look.reason:
        return [_bad(name, look.reason, advice=look.advice, images=images)]
    whole = name.removesuffix(f"#{entry.place.number}") if isinstance(entry.place, Slice) else name
    return [Finding("warning", whole, remark) for remark in look.remarks]


def _bad(name: str, reason: str, *, advice: str, images: Images) -> Finding:
    if images.skip_bad:
        return Finding("warning", name, f"skipped: {reason}", advice)
    return Finding("error", name, reason, f"{advice}; or go on without it by images.skip_bad=true")
