"""Hugging Face datasets, saved to disk and as Parquet; how the Hub's refusals are told."""

import gc
import os
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aquatint.data.findings import BadData
from aquatint.data.places import File
from aquatint.data.settings import Images
from aquatint.data.sources import dataset as module
from aquatint.data.sources import read

FEATURES = {"image": datasets.Image(), "text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])}


@pytest.fixture
def make(png):
    """(names, **columns) -> a dataset with a PNG for each name, `text` and `label`."""

    def build(names: list[str | None], **columns: list) -> datasets.Dataset:
        pictures = [{"bytes": png(number), "path": name} for number, name in enumerate(names)]
        rows = {"image": pictures, "text": [f"no {number}" for number in range(len(names))], "label": [n % 2 for n in range(len(names))]}
        features = datasets.Features({name: FEATURES[name] for name in rows if name in FEATURES})
        made = datasets.Dataset.from_dict(rows, features=features)
        for name, values in columns.items():
            made = made.add_column(name, values)
        return made

    return build


def refusal(source: str, **settings: object) -> str:
    with pytest.raises(BadData) as raised:
        read(source, Images(**settings))
    return str(raised.value)


def test_saved_to_disk(tmp_path: Path, make, png, untouched) -> None:
    folder = tmp_path / "saved"
    make(["10.png", "2.PNG", "sub/a.jpg"], weight=[1.0, 0.5, 2.0], repeats=[1, 2, 3]).save_to_disk(folder)
    check = untouched(folder)
    offer = read(str(folder), Images())
    assert [(entry.name, entry.caption, entry.weight, entry.repeats) for entry in offer.entries] == [
        ("2.PNG", "no 1", 0.5, 2),
        ("10.png", "no 0", 1.0, 1),
        ("a.jpg", "no 2", 2.0, 3),  # datasets keeps the last part of a path
    ]
    assert [entry.place.read() for entry in offer.entries] == [png(1), png(0), png(2)]
    assert [entry.place.suffix for entry in offer.entries] == [".png", ".png", ".jpg"]
    assert str(offer.entries[0].place) == f"{folder}: row 1"
    check()


def test_signatures_differ_by_row_last_and_change_with_the_files(tmp_path: Path, make) -> None:
    folder = tmp_path / "saved"
    make(["a.png", "b.png"]).save_to_disk(folder)
    first, again = ([entry.place.signature() for entry in read(str(folder), Images()).entries] for _ in range(2))
    assert first == again
    assert len(set(first)) == 2
    gc.collect()
    make(["b.png", "a.png"]).save_to_disk(folder)
    assert not set(first) & {entry.place.signature() for entry in read(str(folder), Images()).entries}


def test_the_split_train_or_the_only_one(tmp_path: Path, make) -> None:
    one, two = make(["a.png"]), make(["b.png"])
    for name, splits in {"train": {"test": one, "train": two}, "only": {"test": one}, "none": {"test": one, "dev": two}}.items():
        datasets.DatasetDict(splits).save_to_disk(tmp_path / name)
    assert [entry.name for entry in read(str(tmp_path / "train"), Images()).entries] == ["b.png"]
    assert [entry.name for entry in read(str(tmp_path / "only"), Images()).entries] == ["a.png"]
    told = refusal(str(tmp_path / "none"))
    assert "several splits and none is called train: test, dev" in told
    assert f"give the folder of one, such as {tmp_path / 'none'}/test" in told
    assert [entry.name for entry in read(str(tmp_path / "none" / "dev"), Images()).entries] == ["b.png"]


def test_a_folder_of_parquet_files(tmp_path: Path, make, png, untouched) -> None:
    folder = tmp_path / "a [b] *c" / ".hidden"
    (folder / "data").mkdir(parents=True)
    made = make([f"{number}.png" for number in range(5)])
    made.select(range(3)).to_parquet(folder / "data" / "train-00000-of-00002.parquet")
    made.select(range(3, 5)).to_parquet(folder / "data" / "train-00001-of-00002.parquet")
    make(["t.png"]).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    check = untouched(folder)
    offer = read(str(folder), Images())
    assert [(entry.name, entry.caption) for entry in offer.entries] == [(f"{n}.png", f"no {m}") for n, m in enumerate([0, 1, 2, 3, 4])]
    assert [entry.place.read() for entry in offer.entries] == [png(n) for n in range(5)]
    signatures = [entry.place.signature() for entry in offer.entries]
    check()
    made.to_parquet(folder / "data" / "train-00000-of-00002.parquet")
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    assert not set(signatures) & {entry.place.signature() for entry in read(str(folder), Images()).entries}


def test_parquet_files_of_two_shapes(tmp_path: Path, make) -> None:
    (tmp_path / "data").mkdir()
    make(["a.png"]).to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    make(["a.png"]).remove_columns("label").to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    assert "train-00001-of-00002.parquet has other columns than train-00000-of-00002.parquet" in refusal(str(tmp_path))


def test_a_changed_parquet_file_is_never_read_from_the_cache(tmp_path: Path, make, png) -> None:
    path = tmp_path / "list.parquet"
    make(["a.png", "b.png"]).to_parquet(path)
    status = path.stat()
    assert [entry.caption for entry in read(str(path), Images()).entries] == ["no 0", "no 1"]
    make(["b.png", "a.png"]).to_parquet(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [entry.caption for entry in read(str(path), Images()).entries] == ["no 1", "no 0"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])])
def test_one_parquet_file_with_pictures_that_no_metadata_declares(tmp_path: Path, png, kind: pa.DataType) -> None:
    pictures = [{"bytes": png(n), "path": None} if pa.types.is_struct(kind) else png(n) for n in range(12)]
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"image": pa.array(pictures, kind), "caption": [f"no {n}" for n in range(12)]}), path)
    offer = read(str(path), Images())
    assert [entry.name for entry in offer.entries] == [str(n) for n in range(12)]
    assert [entry.caption for entry in offer.entries] == [f"no {n}" for n in range(12)]
    assert [entry.place.read() for entry in offer.entries] == [png(n) for n in range(12)]
    assert {entry.place.suffix for entry in offer.entries} == {""}


def test_names_that_are_not_each_ones_own_give_way_to_rows(tmp_path: Path, make) -> None:
    make(["a.png", "/x/../a.png", "../b.png"]).save_to_disk(tmp_path / "twice")
    assert [entry.name for entry in read(str(tmp_path / "twice"), Images()).entries] == ["0.png", "1.png", "2.png"]
    make(["C:\\x\\a.png", "/x/a.png", "../b.png"]).select([0, 2]).save_to_disk(tmp_path / "out")
    assert [entry.name for entry in read(str(tmp_path / "out"), Images()).entries] == ["b.png", "x/a.png"]


def test_captions_of_classes_and_of_lists(tmp_path: Path, make) -> None:
    make(["a.png", "b.png"], several=[["one", "two  words"], []], number=[1, 2]).save_to_disk(tmp_path / "saved")
    source = str(tmp_path / "saved")
    captions = {name: [e.caption for e in read(source, Images(caption_column=name)).entries] for name in ("label", "several")}
    assert captions == {"label": ["cat", "dog"], "several": ["one", None]}
    assert read(source, Images(caption_column="several", caption_lines="choose")).entries[0].caption == "one\ntwo words"
    assert "'number' is 1, not a text" in refusal(source, caption_column="number")
    told = [str(finding) for finding in read(source, Images(caption_column="capt")).findings]
    assert told == [f"{source}: has no column 'capt', but image, text, label, several, number -> choose one by images.caption_column"]


def test_pictures_as_paths_and_rows_without_any(tmp_path: Path, photos_dir: Path, png) -> None:
    cells = [(None, str(photos_dir / "a.png")), (None, "photos/b.png"), (None, "/gone.png"), None, (png(9), None)]
    pictures = [cell and dict(zip(("bytes", "path"), cell, strict=True)) for cell in cells]
    source = str(tmp_path / "list.parquet")
    pq.write_table(pa.table({"image": pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}), source)
    offer = read(source, Images())
    assert [entry.place.read() for entry in offer.entries] == [png(0), png(1), png(9)]
    assert offer.entries[0].place == File(photos_dir / "a.png")
    assert [finding.what for finding in offer.findings if finding.level == "error"] == ["there is no /gone.png", "holds no picture"]
    assert {finding.level for finding in read(source, Images(skip_bad=True)).findings} == {"warning"}
    bare = datasets.Dataset.from_parquet(source, cache_dir=str(tmp_path / "cache")).select([1])
    with pytest.raises(BadData, match=r"holds only the name of a picture, photos/b\.png, and not its bytes"):
        module._offer(bare, Images(), source="hub:a/b", root=None)


def test_of_several_columns_of_pictures_one_is_taken_and_masks_are_masks(tmp_path: Path, make, png) -> None:
    made = make(["a.png", "b.png"])
    for name, pictures in {"mask": [{"bytes": png(7), "path": None}, None], "control": [{"bytes": png(8), "path": None}] * 2}.items():
        made = made.add_column(name, pictures).cast_column(name, datasets.Image())
    made.save_to_disk(tmp_path / "saved")
    offer = read(str(tmp_path / "saved"), Images())
    assert [entry.place.read() for entry in offer.entries] == [png(0), png(1)]
    assert offer.entries[0].mask.read() == png(7)
    assert offer.entries[1].mask is None
    assert [finding.what for finding in offer.findings] == [
        "pictures are read from 'image', not from control",
        "read beside pictures and captions: mask",
    ]


def test_what_is_no_dataset(tmp_path: Path, make) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "size": [3]}).save_to_disk(tmp_path / "words")
    assert "has no column of pictures, but text (string), size (int64)" in refusal(str(tmp_path / "words"))
    make(["a.png"]).save_to_disk(tmp_path / "cut")
    arrow = tmp_path / "cut" / "data-00000-of-00001.arrow"
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert "is no dataset, or is damaged" in refusal(str(tmp_path / "cut"))
    arrow.unlink()
    assert "is no dataset, or is damaged" in refusal(str(tmp_path / "cut"))
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "dataset_dict.json").write_text("[]")
    assert "dataset_dict.json that cannot be read" in refusal(str(tmp_path / "dict"))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "data" / "train.parquet").write_bytes(b"PAR1 and no more")
    assert "is no dataset, or is damaged" in refusal(str(tmp_path / "hub"))
    datasets.Dataset.from_dict({"image": [None]}, features=datasets.Features({"image": datasets.Image()})).save_to_disk(tmp_path / "none")
    assert "row 0: holds no picture" in refusal(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], {"train": 2, "test": 1}),
        (["0000", "0001"], {"train": 2}),
        (["train", "validation_1", "validation_2"], {"train": 1, "validation": 2}),
        (["trains", "a"], {"train": 2}),
        (["extra-00000-of-00001"], {"extra": 1}),
    ],
)
def test_splits_are_told_by_the_names_of_files(names: list[str], splits: dict[str, int]) -> None:
    found = module._by_split([Path(f"{name}.parquet") for name in names])
    assert {split: len(files) for split, files in found.items()} == splits


def test_the_hub_without_a_network() -> None:
    told = refusal("hub:nobody/nothing")
    assert "hub:nobody/nothing: cannot be reached: there is no network, or HF_HUB_OFFLINE is set" in told
    assert "is no name of a dataset on the Hub" in refusal("hub:nobody")
    assert "write hub:OWNER/NAME" in refusal("hub:a/b:c:d")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub. Visit its page."), "is gated"),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub or cannot be accessed."), "is private"),
        (ConnectionError("Couldn't reach 'a/b' on the Hub (ConnectTimeout)"), "there is no network"),
        (OSError("401 Client Error: Unauthorized"), "is not open to you"),
        (OSError("404 Client Error"), "is not on the Hub"),
        (RuntimeError("Dataset scripts are no longer supported, but found b.py"), "a program of its own"),
        (ValueError("Config name is missing.\nPlease pick one among the available configs: ['x', 'y']\n"), "has several parts: ['x', 'y']"),
        (ValueError("something else"), "something else"),
    ],
)
def test_refusals_of_the_hub_say_what_to_do(error: Exception, told: str) -> None:
    finding = module._refusal("hub:a/b", error)
    assert told in finding.what
    assert finding.advice


def test_names_on_the_hub() -> None:
    groups = [module.HUB_NAME.fullmatch(name).group("id", "part", "split") for name in ("hub:a/b", "hub:a/b:test", "hub:a/b/c:test")]
    assert groups == [("a/b", None, None), ("a/b", None, "test"), ("a/b", "c", "test")]
    assert module._split(["dev", "test"], source="hub:a/b", advice="", asked="test") == "test"
    with pytest.raises(BadData, match="has no split 'tets', but dev, test"):
        module._split(["dev", "test"], source="hub:a/b", advice="", asked="tets")


def test_pictures_stay_on_the_disk(tmp_path: Path) -> None:
    import os

    num_rows, num_bytes = 200, 100_000
    pictures = [{"bytes": os.urandom(num_bytes), "path": f"{n}.png"} for n in range(num_rows)]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": pictures}, features=features).save_to_disk(tmp_path / "saved")
    expected = {f"{n}.png": picture["bytes"] for n, picture in enumerate(pictures)}
    del pictures
    gc.collect()
    before = pa.total_allocated_bytes()
    offer = read(str(tmp_path / "saved"), Images())
    assert pa.total_allocated_bytes() - before < num_rows * num_bytes / 50
    for entry in offer.entries:
        assert entry.place.read() == expected.pop(entry.name)
    assert not expected
    assert pa.total_allocated_bytes() - before < num_rows * num_bytes / 50


def test_copying_a_file_of_one_row_group_holds_little_of_it(tmp_path: Path) -> None:
    """Not the row group, only some of its pages, and their size is the writer's choice."""
    import os
    import subprocess
    import sys

    num_rows, num_bytes = 1000, 100_000
    table = pa.table({"image": pa.array([os.urandom(num_bytes) for _ in range(num_rows)], pa.binary())})
    pq.write_table(table, tmp_path / "list.parquet", row_group_size=num_rows, use_dictionary=False, write_batch_size=20)
    code = """
import sys, pyarrow
from aquatint.data.settings import Images
from aquatint.data.sources import read
print(len(read(sys.argv[1], Images()).entries), pyarrow.default_memory_pool().max_memory())
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "list.parquet")], capture_output=True, text=True, check=True)
    entries, peak = map(int, ended.stdout.split())
    assert entries == num_rows
    assert peak < num_rows * num_bytes / 3


def test_many_threads_read_the_same_rows(tmp_path: Path, make, png) -> None:
    from concurrent.futures import ThreadPoolExecutor

    make([f"{n}.png" for n in range(300)]).save_to_disk(tmp_path / "saved")
    entries = read(str(tmp_path / "saved"), Images()).entries
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda entry: entry.place.read(), [*entries, *reversed(entries)]))
    expected = [png(n) for n in range(300)]
    assert contents == [*expected, *reversed(expected)]


def test_captions_beside_pictures_are_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"file_name": ["a.png"], "text": ["x"]}), tmp_path / "data" / "metadata.parquet")
    assert not module.claims(str(tmp_path))
    (tmp_path / "data" / "metadata.parquet").rename(tmp_path / "data" / "train.parquet")
    assert module.claims(str(tmp_path))


def test_a_damaged_copy_is_made_anew(tmp_path: Path, make, png, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "cache"))
    make(["a.png", "b.png"]).to_parquet(tmp_path / "list.parquet")
    read(str(tmp_path / "list.parquet"), Images())
    gc.collect()
    (copy,) = (tmp_path / "cache").rglob("*.arrow")
    os.truncate(copy, copy.stat().st_size // 2)
    assert [entry.place.read() for entry in read(str(tmp_path / "list.parquet"), Images()).entries] == [png(0), png(1)]


def test_the_copy_lies_in_the_cache(tmp_path: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "cache"))
    make(["a.png"]).to_parquet(tmp_path / "list.parquet")
    signatures = []
    for _ in range(2):
        signatures += [entry.place.signature() for entry in read(str(tmp_path / "list.parquet"), Images()).entries]
        gc.collect()
        assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1
        shutil.rmtree(tmp_path / "cache")
    assert signatures[0] == signatures[1]
