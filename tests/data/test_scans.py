"""The door to medical pictures: what goes through it, and that nothing but its one error comes out."""

import gzip
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import pydicom
import pytest

from aquatint.data import pictures, planes
from aquatint.data.scans import UnreadableScan, decode, frames, is_scan
from aquatint.data.settings import Images

PYDICOM = Path(os.path.dirname(pydicom.__file__)) / "data" / "test_files"
NIBABEL = Path(os.path.dirname(nibabel.__file__)) / "tests" / "data"
SAMPLES = [
    *(PYDICOM / name for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_small_odd.dcm",
                                  "rtdose.dcm", "liver_1frame.dcm", "CT_small.dcm")),
    *(NIBABEL / name for name in ("standard.nii.gz", "resampled_anat_moved.nii", "example_nifti2.nii.gz")),
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
DICM = bytes(128) + b"DICM"
NAMES = {
    "a.dcm": True, "a.DCM": True, "b.dicom": True, "a.nii": True, "x/a.NII.GZ": True, "c.ima": True, "a.png": False, "a.gz": False,
    "IM0001": False, "MR.1.2.840.113619": False, "nii": False, "dcm": False, "readme.txt": False,
}  # fmt: skip


def test_scans_are_known_by_name_or_by_their_first_bytes() -> None:
    assert {name: is_scan(name) for name in NAMES} == NAMES
    others = {"IM0001", "MR.1.2.840.113619", "nii", "dcm"}
    assert {name for name in NAMES if is_scan(name, DICM) and not NAMES[name]} == others


def test_no_damage_raises_anything_else() -> None:
    """Cut off at every tenth of its length, and with single bytes changed, mostly in the header."""
    chance, outcomes = random.Random(5), {"picture": 0, "refused": 0}
    for path in SAMPLES:
        whole = path.read_bytes()
        whole = gzip.decompress(whole) if path.suffix == ".gz" else whole
        cut = [whole[: len(whole) * tenth // 10] for tenth in range(10)]
        changed = [bytearray(whole) for _ in range(50)]
        for content in changed:
            reach = len(whole) if chance.random() < 0.2 else 348 if ".nii" in path.name else 1500
            content[chance.randrange(min(reach, len(whole)))] = chance.choice([0, 255, chance.randrange(256)])
        for content in map(bytes, cut + changed):
            suffix = ".nii" if ".nii" in path.name else ".dcm"
            try:
                decode(content, suffix, frame=frames(content, suffix).numbers[0])
                outcomes["picture"] += 1
            except UnreadableScan:
                outcomes["refused"] += 1
    assert sum(outcomes.values()) == 600
    assert min(outcomes.values()) > 100


def test_threads_get_the_slice_that_they_ask_for() -> None:
    contents = [(NIBABEL / name).read_bytes() for name in ("anatomical.nii", "example4d.nii.gz")]
    asked = [(content, number) for number in range(20) for content in contents]
    alone = [decode(content, ".nii", frame=number).image.tobytes() for content, number in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: decode(one[0], ".nii", frame=one[1]).image.tobytes(), asked))
    assert together == alone


def test_one_limit_for_all_pictures() -> None:
    assert planes.MAX_PIXELS == pictures.MAX_PIXELS


@pytest.mark.parametrize("window", [(40, 0), (40, -1), (float("nan"), 1), (0, float("inf")), (1,)])
def test_a_window_without_width_is_refused(window: tuple[float, ...]) -> None:
    assert Images(window=(40, 400)).window == (40.0, 400.0)
    with pytest.raises(ValueError, match=r"window\."):
        Images(window=window)
