"""NIfTI volumes: any orientation to slices as radiologists look at them."""

from __future__ import annotations

import gzip
import io
import logging
import math
import threading
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from aquatint.data.planes import MAX_PIXELS, Numbers, UnreadableScan, extent, grey, needed, squared

AXES = {"x": 0, "y": 1, "z": 2}
"""Of a volume that runs to the right, the front and the top: slices across them are sagittal, coronal and axial."""
MAX_VOXELS = 2**30
KEPT_BYTES = 2**30
"""The volume opened last is kept for its other slices if it takes no more, file and grey values together."""
MAX_INFLATION = 1032
"""Deflate makes at most so many bytes out of one."""
FREE_BYTES, MOST_EMPTY = 2**26, 250
"""A packed file that unfolds to more than the first must not be smaller than a part in so many of that: a scan has noise."""
CIFTI = range(3000, 3100)
"""Intent codes of matrices on the cortex, which have no slices."""
GZIP = b"\x1f\x8b"
HEADERS = {b"n+1\0": ("Nifti1Header", 348), b"n+2\0": ("Nifti2Header", 540)}
"""Magic -> nibabel's reader and the bytes it reads."""
WHOLE = "replace it with a whole copy"
ACROSS = "choose another axis with images.slices="
Window = tuple[float, float]
_quiet = logging.getLogger("aquatint.data.nifti")  # nibabel's own prints to stderr whatever it mends in a header
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class Volume:
    values: Numbers
    """uint8, (x, y, z) or (x, y, z, 3), to the right, the front and the top."""
    spacing: tuple[float, ...]
    """Millimetres between voxels along x, y, z."""
    kind: str
    """Of the stored values: int16, RGB …"""
    remarks: tuple[str, ...]
    """How its values became grey."""
    choices: tuple[str, ...]
    """What it holds beside what is used."""


_lock = threading.Lock()
_last: tuple[bytes, Window | None, Volume] | None = None


def slices(content: bytes, *, axis: str, window: Window | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Numbers of the slices on which something is to be seen through `window`, and remarks. Raises UnreadableScan."""
    volume = opened(content, window)
    across = tuple(number for number in range(3) if number != AXES[axis])
    flat = volume.values.min(axis=across) == volume.values.max(axis=across)
    flat = flat if flat.ndim == 1 else flat.all(axis=1)
    shown = tuple(int(number) for number in np.flatnonzero(~flat))
    if not shown:
        raise UnreadableScan("shows nothing: every slice is of one brightness", "remove it" if window is None else "choose another window")
    empty = f"has {flat.sum()} slices of {flat.size} along {axis} on which nothing is to be seen: left out"
    return shown, (*volume.choices, *([empty] if flat.any() else []))


def picture(content: bytes, number: int, *, axis: str, window: Window | None) -> tuple[Image.Image, str, list[str]]:
    """One slice as RGB, the kind of values, and remarks. The patient's right is on the left; front or top is up, front is left.

    Raises UnreadableScan.
    """
    volume = opened(content, window)
    if not 0 <= number < volume.values.shape[AXES[axis]]:
        raise UnreadableScan(f"has no slice {number} along {axis}: there are {volume.values.shape[AXES[axis]]}")
    plane = np.moveaxis(volume.values, AXES[axis], 0)[number, ::-1, ::-1].swapaxes(0, 1)
    if min(plane.shape[:2]) < 2:
        raise UnreadableScan(f"has slices of {plane.shape[1]} x {plane.shape[0]} pixels along {axis}", ACROSS)
    across, up = (volume.spacing[other] for other in range(3) if other != AXES[axis])
    image, remarks = squared(Image.fromarray(np.ascontiguousarray(plane)).convert("RGB"), spacing=(up, across))
    return image, f"NIfTI {volume.kind}", [*volume.remarks, *remarks]


def opened(content: bytes, window: Window | None) -> Volume:
    """The whole volume. The last one is kept: its slices are asked for one after the other."""
    global _last
    with _lock:
        if _last is not None and _last[1] == window and _last[0] == content:
            return _last[2]
        _last = None  # never two at a time
        volume = _read(content, window)
        if len(content) + volume.values.nbytes <= KEPT_BYTES:
            _last = content, window, volume
        return volume


def _read(content: bytes, window: Window | None) -> Volume:
    nibabel = needed("nibabel")
    with _unpacked(content) as file:
        header = _header(file.read(540))
    shape, kind, orientation, spacing, remarks = _form(nibabel, header)
    data = _data(content, start=header.get_data_offset(), num_bytes=math.prod(shape[:3]) * kind.itemsize, more=math.prod(shape[3:]))
    stored = np.ndarray(shape[:3], kind, data, order="F")
    choices = [f"is {len(shape)}-dimensional ({' x '.join(map(str, shape))}): the first volume is used"] if math.prod(shape[3:]) > 1 else []
    if kind.fields:
        values, name = np.stack([stored[channel] for channel in "RGB"], -1), "".join(kind.fields)
        remarks += ["has transparency: ignored"] if "A" in kind.fields else []
    else:
        values, name = _grey(stored, header, window=window, remarks=remarks), kind.name
    return Volume(nibabel.apply_orientation(values, orientation), spacing, name, tuple(remarks), tuple(choices))


def _unpacked(content: bytes) -> BinaryIO:
    file = io.BytesIO(content)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if content.startswith(GZIP) else file


def _header(head: bytes) -> Any:
    nibabel = needed("nibabel")
    for magic, (reader, num_bytes) in HEADERS.items():
        if magic in (head[344:348], head[4:8]) and len(head) >= num_bytes:
            header = getattr(nibabel, reader)(head[:num_bytes], check=False)
            try:
                header.check_fix(logger=_quiet)
            except Exception as error:
                raise UnreadableScan(f"has a damaged header ({error})", WHOLE) from error
            return header
    if b"ni1\0" in (head[344:348], head[4:8]) or b"ni2\0" in (head[344:348], head[4:8]):
        raise UnreadableScan("is the header of a pair (.hdr and .img)", "save both as one .nii")
    raise UnreadableScan("is not a NIfTI volume, or its header is damaged", WHOLE)


def _form(nibabel: Any, header: Any) -> tuple[tuple[int, ...], Any, Any, tuple[float, ...], list[str]]:
    """Shape, type of voxels, the way to right-front-top, spacing there, and remarks; refused before anything large is made."""
    if int(header["intent_code"]) in CIFTI:
        raise UnreadableScan("holds a CIFTI matrix, not a volume", "remove it")
    shape = tuple(int(side) for side in header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    if min(shape) < 1:
        raise UnreadableScan(f"holds no voxels ({' x '.join(map(str, shape))})", WHOLE)
    sides = sorted(shape[:3])
    if math.prod(sides) > MAX_VOXELS or sides[1] * sides[2] > MAX_PIXELS:
        size = " x ".join(map(str, shape[:3]))
        raise UnreadableScan(f"announces {size} voxels, more than are opened", "make it smaller, or remove it")
    affine = header.get_best_affine()
    orientation = nibabel.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if not np.isfinite(orientation).all():
        raise UnreadableScan("says of one axis that it leads nowhere", "mend its affine")
    order = np.argsort(orientation[:, 0])
    spacing = tuple(float(size) for size in nibabel.affines.voxel_sizes(affine)[order])
    unknown = int(header["sform_code"]) == int(header["qform_code"]) == 0
    remarks = ["does not say how the patient lies: taken as left, front, top"] if unknown else []
    return shape, header.get_data_dtype(), orientation, spacing, remarks


def _data(content: bytes, *, start: int, num_bytes: int, more: int) -> bytes | memoryview:
    """The bytes of the first volume. Nothing is unpacked that was not announced, or that cannot be there."""
    packed = content.startswith(GZIP)
    size, whole = len(content), start + num_bytes * more
    if start < 0 or whole > size * (MAX_INFLATION if packed else 1):
        raise UnreadableScan(f"announces {whole:,} bytes but holds {size:,}{' packed' if packed else ''}: it is cut off or damaged", WHOLE)
    if packed and whole > max(FREE_BYTES, size * MOST_EMPTY):
        raise UnreadableScan(f"unfolds from {size:,} bytes to {whole:,}: it is a trap, or all but empty", "remove it")
    if not packed:
        return memoryview(content)[start : start + num_bytes]
    with _unpacked(content) as file:
        data = file.read(start + num_bytes)
        if len(data) < start + num_bytes:
            raise UnreadableScan(f"announces {start + num_bytes:,} bytes but holds {len(data):,}: it is cut off or damaged", WHOLE)
        file.read(1)  # at the end of the file the checksum is compared
    return memoryview(data)[start:]


def _grey(stored: Numbers, header: Any, *, window: Window | None, remarks: list[str]) -> Numbers:
    """uint8, one range for the whole volume, so that its slices agree."""
    slope, shift = header.get_slope_inter()
    slope, shift = (1.0 if slope is None else slope), (0.0 if shift is None else shift)
    if stored.dtype.kind == "c":
        remarks.append("holds complex numbers: their magnitude is shown")
        stored = np.abs(stored)
    num_wrong = 0 if stored.dtype.kind in "iu" else stored.size - int(np.isfinite(stored).sum())
    if num_wrong:
        remarks.append(f"holds {num_wrong:,} values that are not finite (NaN or infinity): NaN is shown black")
    ends = extent(stored.ravel(order="K"))
    if ends is None:
        raise UnreadableScan("shows nothing: all its values are the same, or none is a number", "remove it")
    low, high = sorted(end * slope + shift for end in ends)
    low, high, why = _range(low, high, header=header, window=window)
    remarks.append(f"is shown from {low:.4g} (black) to {high:.4g} (white): {why}")
    values = np.empty(stored.shape, np.uint8, order="F")
    for number in range(stored.shape[2]):  # a plane at a time: as floats the whole would take eight times as much
        values[..., number] = grey(stored[..., number].astype(np.float64) * slope + shift, (low, high))
    return values


def _range(low: float, high: float, *, header: Any, window: Window | None) -> tuple[float, float, str]:
    """What is black and what is white, and who says so: the user, the header, or nearly all values of the volume."""
    if window is not None:
        return window[0] - window[1] / 2, window[0] + window[1] / 2, "the window that was asked for"
    first, last = float(header["cal_min"]), float(header["cal_max"])
    if math.isfinite(first) and math.isfinite(last) and first < last and first < high and last > low:
        return first, last, "as its header says"
    return low, high, "all but the rarest of the volume's values"
