"""Where the bytes of a picture lie, and what a source offers: the one form in which all sources come."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aquatint.data.findings import Finding


class Place(Protocol):
    """Somewhere that the bytes of one picture can be read from, again and again; cheap to keep by the hundred thousand."""

    @property
    def suffix(self) -> str:
        """Of the name that the picture goes by, with its dot, in small letters; empty where it has no name."""

    def read(self) -> bytes:
        """All of its bytes. Raises OSError."""

    def signature(self) -> str:
        """Changes whenever the bytes may have changed; found without reading them. Raises OSError."""


MAX_GIB = 1
"""Larger files are not read; a file can claim any size and hold nothing."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of its own."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def read(self) -> bytes:
        if self.path.stat().st_size > MAX_GIB << 30:
            raise OSError(errno.EFBIG, f"it has more than {MAX_GIB} GiB", str(self.path))
        return self.path.read_bytes()

    def signature(self) -> str:
        return state_of(self.path)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a larger file, such as a member of a tar archive."""

    path: Path
    name: str
    """Of the member."""
    offset: int
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1].lower()

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.num_bytes)
        if len(content) < self.num_bytes:
            raise OSError(f"{self.path} ends before {self.name} does")
        return content

    def signature(self) -> str:
        return f"{state_of(self.path)}:{self.offset}+{self.num_bytes}"


@dataclass(frozen=True, slots=True)
class Slice:
    """One of the pictures in a scan: a frame of DICOM, a slice of a NIfTI volume, as `data/scans.py` cuts it."""

    whole: Place
    number: int
    axis: str
    """`x`, `y` or `z`: what the slices of a volume lie across."""
    window: tuple[float, float] | None
    """Centre and width of the values shown; None for what the file says."""

    def __str__(self) -> str:
        return f"{self.whole}{self.mark}"

    @property
    def mark(self) -> str:
        """Text that tells it from the others of its file."""
        return f"#{self.number}{self.axis}{self.window or ''}"

    @property
    def suffix(self) -> str:
        return self.whole.suffix

    def read(self) -> bytes:
        return self.whole.read()

    def signature(self) -> str:
        return self.whole.signature() + self.mark


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture that a source offers, not yet looked at."""

    name: str
    """Unique within its source, posix; what findings call it."""
    place: Place
    caption: str | None = None
    """As it is written, or None where nothing is; lines are kept apart."""
    weight: float = 1.0
    """Of its loss, > 0."""
    repeats: int = 1
    """How often it counts beside the others, >= 1."""
    mask: Place | None = None
    """A grey picture of where it counts: white for fully, black for not at all."""


@dataclass(frozen=True)
class Offer:
    """All that a source holds."""

    entries: tuple[Entry, ...]
    """In natural order of their names."""
    findings: tuple[Finding, ...]
    of_captions: tuple[Finding, ...] = ()
    """Those that matter only where captions are needed."""
    folders: tuple[Path, ...] = ()
    """Read with all that lies in them: what were written there would be a part of the source."""


def state_of(path: Path) -> str:
    """Of a file, from its inode: whoever changes a byte changes the time of the last change, which no program can set back."""
    status = path.stat()
    return f"{path.absolute()}:{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
