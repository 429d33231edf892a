"""Pictures from every kind of source go through inspect and training to a proven file, and a run from each can be resumed."""

import csv
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import nibabel
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from aquatint.commands import inspect, resume, train
from aquatint.data.records import survey
from aquatint.data.settings import Images
from aquatint.training.events import Finished, Noted, Stepped
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Train


def rows(photos: Path) -> list[tuple[Path, str]]:
    return [(path.with_suffix(image.suffix), path.read_text()) for path in sorted(photos.glob("*.txt")) for image in _beside(path)]


def _beside(text: Path) -> list[Path]:
    return [path for path in text.parent.glob(f"{text.stem}.*") if path != text]


def as_list(photos: Path, place: Path) -> Path:
    with (place / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "prompt"), *rows(photos)])
    return place / "list.csv"


def as_parquet(photos: Path, place: Path) -> Path:
    table = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "text": text} for path, text in rows(photos)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), place / "all.parquet")
    return place / "all.parquet"


def as_dataset(photos: Path, place: Path) -> Path:
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    table = {"image": [str(path) for path, _ in rows(photos)], "text": [text for _, text in rows(photos)]}
    datasets.Dataset.from_dict(table, features=features).save_to_disk(place / "dataset")
    return place / "dataset"


def as_archive(photos: Path, place: Path) -> Path:
    with tarfile.open(place / "shard-000.tar", "w") as tar:
        for path in sorted(photos.iterdir()):
            tar.add(path, path.name)
    return place / "shard-000.tar"


def as_mix(photos: Path, place: Path) -> Path:
    """Two pictures of a folder, one of them masked, and an archive that counts half."""
    folder = place / "some"
    folder.mkdir()
    for path, text in rows(photos)[:2]:
        shutil.copy(path, folder)
        (folder / f"{path.stem}.txt").write_text(text)
    masked = rows(photos)[0][0]
    Image.new("L", Image.open(masked).size, 200).save(folder / f"{masked.stem}.mask.png")
    as_archive(photos, place)
    (place / "mix.yaml").write_text("- {data: some, repeats: 2}\n- {data: shard-000.tar, weight: 0.5}\n")
    return place / "mix.yaml"


def as_dicom(photos: Path, place: Path) -> Path:
    (place / "dicom").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), place / "dicom")
        (place / "dicom" / name).with_suffix(".txt").write_text("a scan")
    return place / "dicom"


def as_volume(photos: Path, place: Path) -> Path:
    (place / "volumes").mkdir()
    shutil.copy(Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii", place / "volumes" / "brain.nii")
    (place / "volumes" / "brain.txt").write_text("a slice of a brain")
    return place / "volumes"


SOURCES = {as_list: 6, as_parquet: 6, as_dataset: 6, as_archive: 6, as_mix: 8, as_dicom: 3, as_volume: 25}


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_from_source_to_proven_file(make: Callable[[Path, Path], Path], photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    source, out = make(photos, tmp_path), tmp_path / "run"
    found = survey(source, Images())
    assert not found.has_errors, found.findings
    assert len(found.records) == SOURCES[make]
    assert all(record.caption for record in found.records)
    list(inspect.run(inspect.Inspect.read([f"data={source}", "resolution=16", f"out={tmp_path / 'page.html'}"])))
    assert (tmp_path / "page.html").stat().st_size > 10_000
    given = [f"data={source}", f"base={tiny_sd}", "resolution=16", "steps=4", "samples.num_steps=1", "checkpoints.every=2", f"out={out}"]
    steps = []
    for event in train.run(Train.read(given)):
        if isinstance(event, Stepped):
            steps.append(event.step)
            if event.step == 3:
                break
    said = [*resume.run(resume.Resume.read([str(out)]))]
    steps += [event.step for event in said if isinstance(event, Stepped)]
    assert steps == [1, 2, 3, 4]  # who stops reading stops the run, which then saves its state
    assert any(isinstance(event, Finished) for event in said)
    assert any(isinstance(event, Noted) and event.text.startswith("proven") for event in said)
    assert RunFolder(out).read_facts()["num_pictures"] == SOURCES[make]


def test_a_mask_that_is_black_in_all_that_is_shown_is_told(tiny_sd: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name, white in (("a", (0, 0, 30, 64)), ("b", (200, 0, 400, 64))):
        Image.effect_noise((600, 64), 90).save(tmp_path / "set" / f"{name}.png")
        mask = Image.new("L", (600, 64))
        mask.paste(255, white)
        mask.save(tmp_path / "set" / f"{name}.mask.png")
    given = [f"data={tmp_path / 'set'}", "trigger=zwx", f"base={tiny_sd}", "resolution=16", "steps=1", "prior.num=0"]
    events = train.run(Train.read([*given, f"out={tmp_path / 'run'}", "samples.every=0", "samples.num_steps=1"]))
    told = [event.text for event in events if isinstance(event, Noted) and event.is_warning]
    assert "the masks are black in all that is shown of a.png: nothing of it is learned" in told
