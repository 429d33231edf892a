"""Scans in a folder become records, one for each picture in them, with the caption of their file."""

import shutil
import tarfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from aquatint.data import scans
from aquatint.data.diagnosis import diagnose
from aquatint.data.pictures import open_picture
from aquatint.data.records import scan, survey
from aquatint.data.settings import Images

NIFTI = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"


def put(folder: Path, **files: str | Path) -> Path:
    """Real scans under other names; `__` stands for a dot."""
    folder.mkdir(exist_ok=True)
    for name, source in files.items():
        path = source if isinstance(source, Path) else Path(str(get_testdata_file(source, download=False)))
        shutil.copyfile(path, folder / name.replace("__", "."))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = put(tmp_path / "scans", ct__dcm="CT_small.dcm", IM0001="MR_small.dcm", two__dcm="SC_rgb_rle_2frame.dcm", brain__nii=NIFTI)
    for name, caption in {"ct": "a slice of a chest", "IM0001": "a head", "two": "two frames", "brain": "a brain"}.items():
        (found / f"{name}.txt").write_text(caption)
    return found


def test_a_scan_in_two_rows_of_a_list(folder: Path) -> None:
    rows = [f"scans/{name},{word}" for name in ("ct.dcm", "two.dcm") for word in "ab"]
    (folder.parent / "list.csv").write_text("\n".join(["path,text", *rows]))
    found = scan(folder.parent / "list.csv", Images())
    told = {(record.name, record.caption) for record in found.records}
    assert told == {
        ("scans/ct.dcm", "a"), ("scans/ct.dcm#2", "b"),
        ("scans/two.dcm#0", "a"), ("scans/two.dcm#1", "a"), ("scans/two.dcm#2#0", "b"), ("scans/two.dcm#2#1", "b"),
    }  # fmt: skip


def test_scans_are_opaque(folder: Path) -> None:
    records = scan(folder, Images(masks="opacity")).records
    assert len(records) > 3
    assert not any(record.mask for record in records)


def test_each_picture_of_a_scan_is_a_record(folder: Path) -> None:
    found = scan(folder, Images())
    by_file: dict[str, list[str]] = {}
    for record in found.records:
        by_file.setdefault(record.caption, []).append(record.name)
    volume = nibabel.as_closest_canonical(nibabel.load(NIFTI)).get_fdata()
    shown = [f"brain.nii#{z}" for z in range(volume.shape[2]) if np.ptp(volume[:, :, z]) > 0]
    assert by_file == {
        "a brain": shown, "a slice of a chest": ["ct.dcm"], "a head": ["IM0001"], "two frames": ["two.dcm#0", "two.dcm#1"],
    }  # fmt: skip
    assert len({record.content_hash for record in found.records}) == len(found.records)
    chest = next(record for record in found.records if record.name == "ct.dcm")
    assert (chest.width_px, chest.height_px, chest.mode.split()[0]) == (128, 128, "DICOM")
    expected = scans.decode((folder / "ct.dcm").read_bytes(), ".dcm").image
    assert open_picture(chest.place).tobytes() == expected.tobytes()


def test_axis_and_window_make_other_pictures(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith("brain"):
            path.unlink()
    axial, coronal, narrow = (scan(folder, images).records for images in (Images(), Images(slices="y"), Images(window=(5000, 100))))
    assert len(axial) != len(coronal)
    hashes = [{record.content_hash for record in records} for records in (axial, coronal, narrow)]
    assert not hashes[0] & hashes[1]
    assert not hashes[0] & hashes[2]
    assert open_picture(axial[10].place).tobytes() != open_picture(narrow[-1].place).tobytes()


def test_a_second_start_opens_no_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan(folder, Images())
    monkeypatch.setattr(scans, "frames", None)
    monkeypatch.setattr(scans, "decode", None)
    assert scan(folder, Images()) == first


def test_damaged_scans_are_told_by_name(folder: Path) -> None:
    (folder / "ct.dcm").write_bytes((folder / "ct.dcm").read_bytes()[:-5000])
    (folder / "two.dcm").write_bytes(b"<html>")
    (folder / "brain.nii").write_bytes(b"")
    found = survey(folder, Images())
    assert {finding.file for finding in found.findings if finding.level == "error"} == {"ct.dcm", "two.dcm", "brain.nii"}
    assert [record.name for record in found.records] == ["IM0001"]


def test_slices_of_one_scan_may_look_alike(folder: Path) -> None:
    again = folder / "again.nii"
    shutil.copyfile(folder / "brain.nii", again)
    again.write_bytes(again.read_bytes()[:-1] + b"\1")  # another file with the same slices, but for one voxel
    (folder / "again.txt").write_text("a brain")
    records = scan(folder, Images()).records
    alike = [finding for finding in diagnose(records) if "looks like" in finding.what]
    assert alike
    for finding in alike:
        assert len({name.split("#")[0] for name in (finding.file, *finding.others)}) == 2
    assert not [finding for finding in diagnose([r for r in records if "again" not in r.name]) if "looks like" in finding.what]


def test_scans_in_an_archive(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "scans.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("ct.dcm", "ct.txt", "brain.nii", "brain.txt"):
            tar.add(folder / name, name)
    found = scan(archive, Images())
    beside = [record for record in scan(folder, Images()).records if record.name.startswith(("ct", "brain"))]
    assert [(record.name, record.caption, record.content_hash) for record in found.records] == [
        (record.name, record.caption, record.content_hash) for record in beside
    ]
    assert len(beside) > 20


def test_what_holds_for_a_whole_volume_is_said_once(tmp_path: Path) -> None:
    found = survey(put(tmp_path / "scans", brain__nii=NIFTI), Images(), trigger="x")
    assert len(found.records) > 20
    assert [finding.file for finding in found.findings if "is shown from" in finding.what] == ["brain.nii"]
