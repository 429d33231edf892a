"""Medical pictures: the one door to DICOM and NIfTI. Both need the extra `medical`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from aquatint.data import dicom, nifti
from aquatint.data.planes import UnreadableScan, reasons

DICOM = frozenset({".dcm", ".dicom", ".dic", ".ima"})
NIFTI = frozenset({".nii", ".nii.gz"})
SUFFIXES = DICOM | NIFTI
HEAD_BYTES = 132
"""Of a file, that tell whether it is DICOM."""
Window = tuple[float, float]


@dataclass(frozen=True)
class Frames:
    numbers: Sequence[int]
    """Those that are worth showing; `decode` takes them."""
    remarks: tuple[str, ...]
    """What is left out, and why."""


@dataclass(frozen=True)
class Scan:
    image: Image.Image
    """RGB, 8 bits, as radiologists look at it, with square pixels."""
    mode: str
    """What the file holds: `DICOM 12-bit grey`, `NIfTI int16`."""
    remarks: tuple[str, ...]
    """How values became grey, and what had to be assumed."""


def is_scan(name: str, head: bytes = b"") -> bool:
    """Whether a file is to be read here: by its name, or, where that ends in no word, by its first HEAD_BYTES bytes."""
    stem, dot, end = name.lower().rpartition(".")
    if dot and (dot + end in SUFFIXES or (stem.endswith(".nii") and end == "gz")):
        return True
    return head[128:132] == b"DICM" and (not dot or end.isdigit())  # scanners name files by numbers with dots


def frames(content: bytes, suffix: str, *, axis: str = "z", window: Window | None = None) -> Frames:
    """The pictures in a file. `suffix` is that of its name, `.gz` for packed NIfTI. Raises UnreadableScan.

    DICOM: its frames, by the header. NIfTI: its slices across `axis` (x, y or z), without those on which nothing is to be seen.
    """
    with reasons():
        if _is_nifti(suffix):
            return Frames(*nifti.slices(content, axis=axis, window=window))
        return Frames(range(dicom.num_frames(content)), ())


def decode(content: bytes, suffix: str, *, frame: int = 0, axis: str = "z", window: Window | None = None) -> Scan:
    """One of the `frames` as a picture; `window` is centre and width of what is shown, in the file's unit. Raises UnreadableScan."""
    with reasons():
        if _is_nifti(suffix):
            image, mode, remarks = nifti.picture(content, frame, axis=axis, window=window)
        else:
            image, mode, remarks = dicom.picture(content, frame, window=window)
        return Scan(image, mode, tuple(remarks))


def _is_nifti(suffix: str) -> bool:
    return suffix.lower() in (*NIFTI, ".gz")


__all__ = ["DICOM", "HEAD_BYTES", "NIFTI", "SUFFIXES", "Frames", "Scan", "UnreadableScan", "decode", "frames", "is_scan"]
