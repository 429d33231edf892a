"""NIfTI volumes in every orientation, type and state of damage, against world coordinates computed voxel by voxel."""

import gzip
import itertools
import os
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from aquatint.data import nifti
from aquatint.data.scans import UnreadableScan, decode, frames

FILES = Path(os.path.dirname(nibabel.__file__)) / "tests" / "data"
SIZE = (4, 5, 6)
IDENTITY = (127.5, 255.0)
"""The window that shows 0 … 255 as they are."""
FLOATS = np.random.default_rng(3).normal(50, 20, (6, 7, 8)).astype(np.float32)


def nifti_file(values: np.ndarray, affine: np.ndarray | None = None, *, slope: tuple[float, float] | None = None, **facts) -> bytes:
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    for name, value in facts.items():
        image.header[name] = value
    if slope:
        image.header.set_slope_inter(*slope)
    return image.to_bytes()


def shown(content: bytes, number: int = 0, **how) -> np.ndarray:
    pixels = np.asarray(decode(content, ".nii", frame=number, **how).image)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].astype(int)


def stretched(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    low, high = ends
    return np.rint(np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255))


def displayed(volume: np.ndarray, **where: int) -> np.ndarray:
    """The slice z=3 of a volume that runs to the right, the front and the top."""
    ((axis, number),) = where.items()
    return np.flip(np.take(volume, number, "xyz".index(axis)), (0, 1)).T


def named(place: tuple[int, int, int]) -> int:
    """The grey value of a voxel by where it lies in the patient: steps to the right, the front and the top."""
    x, y, z = place
    return 2 * (x + 4 * y + 20 * z)


SHOWN = {
    "z": ((5, 4), lambda number, row, column: (3 - column, 4 - row, number)),
    "y": ((6, 4), lambda number, row, column: (3 - column, number, 5 - row)),
    "x": ((6, 5), lambda number, row, column: (number, 4 - column, 5 - row)),
}
"""Rows and columns, and how many steps to the right, the front and the top a pixel lies."""
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def test_the_patient_lies_the_same_however_the_file_was_written() -> None:
    """Right on the left, front or top up, front left: each pixel against the world coordinates that its voxel has by the affine."""
    assert len(ORIENTATIONS) == 48
    for order, signs in ORIENTATIONS:
        affine = np.eye(4)
        affine[:3, :3] = 0
        for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
            affine[row, column] = sign
            affine[row, 3] += 0 if sign > 0 else SIZE[row] - 1
        values = np.empty([SIZE[row] for row in order], np.uint8)
        for voxel in np.ndindex(*values.shape):
            values[voxel] = named((affine @ [*voxel, 1])[:3].astype(int))
        content = nifti_file(values, affine)
        for axis, (size, voxel_at) in SHOWN.items():
            for number in frames(content, ".nii", axis=axis, window=IDENTITY).numbers:
                pixels = shown(content, number, axis=axis, window=IDENTITY)
                assert pixels.shape == size
                truth = [named(voxel_at(number, row, column)) for row, column in np.ndindex(*size)]
                assert pixels.reshape(-1).tolist() == truth, (order, signs, axis)


@pytest.mark.parametrize("name", ["anatomical.nii", "reoriented_anat_moved.nii"])
def test_real_volumes_are_what_nibabel_says(name: str) -> None:
    content = (FILES / name).read_bytes()
    volume = nibabel.as_closest_canonical(nibabel.load(FILES / name)).get_fdata()
    low, high = np.percentile(volume, [0.5, 99.5])
    num_shown = 0
    for axis in "xyz":
        found = frames(content, ".nii", axis=axis)
        num_shown += len(found.numbers)
        for number in range(volume.shape["xyz".index(axis)]):
            truth = stretched(displayed(volume, **{axis: number}), (low, high))
            assert (number in found.numbers) == (np.ptp(truth) > 0)
            assert abs(shown(content, number, axis=axis) - truth).max() <= 1
    assert num_shown == {"anatomical.nii": 33 + 41 + 25, "reoriented_anat_moved.nii": 19 + 24 + 19}[name]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<u1", "<i2", ">i2", ">u2", "<i4", "<f4", ">f4", "<f8", ">f8"])
def test_every_type_either_way_round_and_packed(dtype: str, kind: type) -> None:
    values = np.clip(np.rint(FLOATS), 0, 255).astype(dtype)
    image = kind(values, np.eye(4), kind.header_class(endianness=dtype[0]))
    image.set_data_dtype(dtype)
    content = image.to_bytes()
    truth = stretched(displayed(values, z=3), np.percentile(values, [0.5, 99.5]))
    assert (shown(content, 3) == truth).all()
    packed = gzip.compress(content)
    for suffix in (".nii.gz", ".gz", ".nii"):
        assert (np.asarray(decode(packed, suffix, frame=3).image)[..., 0] == truth).all()
    assert decode(content, ".nii", frame=3).mode == f"NIfTI {np.dtype(dtype).name}"


def test_slope_and_shift_window_and_the_range_in_the_header() -> None:
    values = np.rint(FLOATS * 10).astype(np.int16)
    content = nifti_file(values, slope=(-0.5, 30.0))
    real = values * -0.5 + 30
    assert (shown(content, 2) == stretched(displayed(real, z=2), np.percentile(real, [0.5, 99.5]))).all()
    assert (shown(content, 2, window=(-200, 90)) == stretched(displayed(real, z=2), (-245, -155))).all()
    content = nifti_file(values, slope=(2.0, -10.0), cal_min=700, cal_max=1100)
    assert (shown(content, 2) == stretched(displayed(values * 2.0 - 10, z=2), (700, 1100))).all()
    assert "as its header says" in decode(content, ".nii", frame=2).remarks[0]
    elsewhere = nifti_file(values, cal_min=1e6, cal_max=2e6)  # nothing of it would be seen
    assert "rarest" in decode(elsewhere, ".nii", frame=2).remarks[0]


def test_values_that_are_no_numbers() -> None:
    values = FLOATS.copy()
    values[1, 2, 3], values[2, 2, 3], values[3, 2, 3] = np.nan, np.inf, -np.inf
    pixels, remarks = shown(nifti_file(values), 3), decode(nifti_file(values), ".nii", frame=3).remarks
    truth = stretched(displayed(values, z=3), np.percentile(values[np.isfinite(values)], [0.5, 99.5]))
    assert (pixels == np.nan_to_num(truth, nan=0)).all()
    assert remarks[0].startswith("holds 3 values that are not finite")
    with pytest.raises(UnreadableScan, match="none is a number"):
        frames(nifti_file(np.full((4, 4, 4), np.nan, np.float32)), ".nii")


def test_what_cannot_be_seen_is_left_out_and_what_is_not_shown_is_told() -> None:
    values = np.zeros((8, 8, 6), np.uint8)
    values[2:4, 3, 2], values[5, 5, 4] = 200, 90
    found = frames(nifti_file(values), ".nii")
    assert found.numbers == (2, 4)
    assert found.remarks == ("has 4 slices of 6 along z on which nothing is to be seen: left out",)
    assert frames(nifti_file(values), ".nii", axis="y").numbers == (3, 5)
    assert frames(nifti_file(values), ".nii", window=(150, 100)).numbers == (2,)
    four = np.stack([np.rint(FLOATS), np.rint(FLOATS) * 7], -1).astype(np.int16)
    assert frames(nifti_file(four), ".nii").remarks == ("is 4-dimensional (6 x 7 x 8 x 2): the first volume is used",)
    assert (shown(nifti_file(four), 5) == shown(nifti_file(four[..., 0]), 5)).all()
    spot = np.zeros((200, 200, 200), np.uint8)  # one voxel among more than are sampled
    spot[7, 8, 9] = 1
    assert frames(nifti_file(spot), ".nii").numbers == (9,)
    assert shown(nifti_file(spot), 9).max() == 255


def test_colours_complex_numbers_and_planes() -> None:
    rgb = np.random.default_rng(4).integers(0, 256, (5, 6, 7, 3), np.uint8)
    records = np.ascontiguousarray(rgb).view([(channel, "u1") for channel in "RGB"])[..., 0]
    content = nifti_file(records)
    assert (np.asarray(decode(content, ".nii", frame=2).image) == np.flip(rgb[:, :, 2], (0, 1)).transpose(1, 0, 2)).all()
    assert frames(content, ".nii").numbers == tuple(range(7))
    assert decode(content, ".nii").mode == "NIfTI RGB"
    turning = (FLOATS * np.exp(1j)).astype(np.complex64)
    assert abs(shown(nifti_file(turning), 1) - shown(nifti_file(abs(FLOATS)), 1)).max() <= 1
    assert frames(nifti_file(np.rint(FLOATS[:, :, 0]).astype(np.int16)), ".nii").numbers == (0,)
    with pytest.raises(UnreadableScan, match="slices of 6 x 1 pixels along y"):
        decode(nifti_file(np.rint(FLOATS[:, :, :1]).astype(np.int16)), ".nii", axis="y")


def test_pixels_become_square() -> None:
    values = np.clip(FLOATS, 0, 255).astype(np.uint8)
    affine = np.diag([1.0, 1.0, 2.5, 1.0])
    scan = decode(nifti_file(values, affine), ".nii", axis="y", window=IDENTITY)
    truth = Image.fromarray(displayed(values, y=0)).resize((6, 20), Image.Resampling.BICUBIC)
    assert (np.asarray(scan.image)[..., 0] == np.asarray(truth)).all()
    assert scan.remarks[-1] == "has pixels of 2.5 x 1 (height x width): made square, 6 x 20"
    assert decode(nifti_file(values, affine), ".nii", axis="z").image.size == (6, 7)
    lying = decode(nifti_file(values, np.diag([1.0, 1.0, 1e9, 1.0])), ".nii", axis="y")
    assert lying.image.size == (6, 8)
    assert "not believed" in lying.remarks[-1]


def patched(content: bytes, offset: int, *packed) -> bytes:
    new = struct.pack(*packed)
    return content[:offset] + new + content[offset + len(new) :]


WHOLE = nifti_file(np.rint(FLOATS).astype(np.int16))
DAMAGED = {
    "announces 1,024 bytes but holds 1,023": WHOLE[:-1],
    "announces 8,795,824,587,104 bytes but holds": gzip.compress(patched(WHOLE, 40, "<8h", 4, 512, 512, 512, 32767, 1, 1, 1)),
    "holds no voxels (0 x 7 x 8)": patched(WHOLE, 42, "<h", 0),
    "is not a NIfTI volume": b"\x89PNG" + bytes(600),
    "is not a NIfTI": WHOLE[:200],
    "is the header of a pair": patched(WHOLE, 344, "4s", b"ni1\0"),
    "says of one axis that it leads nowhere": patched(WHOLE, 280, "<4f", 0, 0, 0, 0),
    "says of one axis": patched(WHOLE, 280, "<f", float("nan")),
    "has a damaged header": patched(WHOLE, 70, "<h", 999),
    "is cut off or damaged": gzip.compress(WHOLE)[:-30],
    "is cut off or damaged (CRC": gzip.compress(WHOLE)[:-8] + b"12345678",
    "holds a CIFTI matrix": (FILES / "row_major.dconn.nii").read_bytes(),
    "shows nothing: all its values are the same": nifti_file(np.full((4, 4, 4), 7, np.uint8)),
    "has no slice 8 along z: there are 8": WHOLE,
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_damage_is_refused_with_a_reason(reason: str) -> None:
    with pytest.raises(UnreadableScan) as caught:
        decode(DAMAGED[reason], ".nii", frame=8)
    assert caught.value.reason.startswith(reason)


def test_nothing_is_unpacked_beyond_what_is_announced() -> None:
    """A thousand times as much behind a small volume costs nothing; a large volume that is not there is not made."""
    bomb = gzip.compress(WHOLE + bytes(200_000_000), 9)
    assert len(bomb) < 250_000
    assert len(nifti._data(bomb, start=352, num_bytes=672, more=1)) == 672
    huge = patched(WHOLE, 40, "<8h", 3, 32767, 32767, 1, 1, 1, 1, 1)
    for content in (huge, gzip.compress(huge)):
        with pytest.raises(UnreadableScan, match="32767 x 32767 x 1 voxels, more than are opened"):
            decode(content, ".nii")


def test_slices_of_one_volume_unpack_it_once(monkeypatch) -> None:
    packed, other = gzip.compress(WHOLE), gzip.compress(nifti_file(np.rint(FLOATS * 2).astype(np.int16)))
    opened: list[bytes] = []
    read = nifti._read
    monkeypatch.setattr(nifti, "_last", None)
    monkeypatch.setattr(nifti, "_read", lambda content, window: opened.append(content) or read(content, window))
    for number in frames(packed, ".gz").numbers:
        decode(bytes(bytearray(packed)), ".gz", frame=number)  # read anew from the disk each time
    assert opened == [packed]
    first = decode(packed, ".gz").image.tobytes()
    assert decode(other, ".gz").image.tobytes() != first
    decode(packed, ".gz", window=IDENTITY)
    assert opened == [packed, other, packed]
    monkeypatch.setattr(nifti, "KEPT_BYTES", 100)
    for _ in range(2):
        decode(other, ".gz")
    assert opened[3:] == [other, other]


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setattr(nifti, "_last", None)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(UnreadableScan, match="needs nibabel") as caught:
        decode(WHOLE, ".nii")
    assert caught.value.advice == "pip install 'aquatint[medical]'"


def test_a_volume_of_nothing_is_not_unfolded() -> None:
    """400 MB of zeros in 400 kB."""
    image = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.eye(4))
    header = image.header.copy()
    header.set_data_shape((600, 600, 600))
    start = int(header["vox_offset"]) or 352
    header["vox_offset"] = start
    packed = gzip.compress(header.binaryblock + bytes(start - len(header.binaryblock)) + bytes(600**3 * 2), 9)
    with pytest.raises(UnreadableScan, match="trap"):
        frames(packed, ".nii.gz")
