"""A picture folder read once, whole: records to train on, and everything a user should know about the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aquatint.data.findings import BadData, Finding
from aquatint.data.matching import match_captions
from aquatint.data.pictures import BadPicture, read_picture
from aquatint.data.places import File
from aquatint.data.settings import Images
from aquatint.data.tree import list_files

__all__ = ["BadData", "Finding", "ImageRecord", "Scan", "scan", "survey"]
NUM_THREADS = 2


@dataclass(frozen=True)
class ImageRecord:
    """One picture to train on."""

    path: Path
    name: str
    """Relative to its folder, posix."""
    caption: str
    """What the model reads: trigger and template applied."""
    width_px: int
    """After orientation, as height_px."""
    height_px: int
    content_hash: str
    """SHA-256 of the file's bytes, hex."""
    weight: float = 1.0
    """Of its loss, > 0."""
    mode: str = "RGB"
    """Pillow's name of what the file holds."""


@dataclass(frozen=True)
class Scan:
    records: tuple[ImageRecord, ...]
    """In natural order of their names."""
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)


def scan(source: Path, images: Images, *, trigger: str | None = None, needs_captions: bool = True) -> Scan:
    """Every picture below `source`, fully decoded once, with its caption. Raises BadData with all problems at once."""
    found = survey(source, images, trigger=trigger, needs_captions=needs_captions)
    if found.has_errors:
        raise BadData(source, found.findings)
    return found


def survey(source: Path, images: Images, *, trigger: str | None = None, needs_captions: bool = True) -> Scan:
    """As `scan`, but errors are findings beside the pictures that are good. Raises BadData only if there is no such folder."""
    listing = list_files(source)
    pictures, findings = _read_all(source, listing.pictures, images=images)
    names = [record.name for record in pictures]
    captions, more = match_captions(source, listing, images=images, names=names, trigger=trigger, needs_captions=needs_captions)
    records = tuple(replace(record, caption=captions[record.name]) for record in pictures)
    return Scan(records, (*listing.findings, *findings, *more))


def _read_all(source: Path, names: Sequence[str], *, images: Images) -> tuple[list[ImageRecord], list[Finding]]:
    """Good pictures, without captions as yet, and what is to be said of them and of the bad ones."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        read = list(pool.map(lambda name: _read(source, name, images=images), names))
    records = [record for record, _ in read if record]
    findings = [finding for _, findings in read for finding in findings]
    if names and not records and images.skip_bad:
        findings.append(Finding("error", str(source), f"not one of {len(names):,} pictures can be read"))
    return records, findings


def _read(source: Path, name: str, *, images: Images) -> tuple[ImageRecord | None, list[Finding]]:
    path = source / name
    try:
        content = File(path).read()
        picture = read_picture(path, matte=images.matte, content=content)
    except BadPicture as bad:
        return None, [_bad(name, bad.reason, advice=bad.advice, images=images)]
    except OSError as error:
        return None, [_bad(name, f"cannot be read ({error.strerror})", advice="make it readable", images=images)]
    width_px, height_px = picture.image.size
    record = ImageRecord(path, name, "", width_px, height_px, hashlib.sha256(content).hexdigest(), mode=picture.mode)
    return record, [Finding("warning", name, remark) for remark in picture.remarks]


def _bad(name: str, reason: str, *, advice: str, images: Images) -> Finding:
    if images.skip_bad:
        return Finding("warning", name, f"skipped: {reason}", advice)
    return Finding("error", name, reason, f"{advice}; or go on without it by images.skip_bad=true")
