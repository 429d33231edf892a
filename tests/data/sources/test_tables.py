"""Lists of pictures in five kinds of file, and every way in which a row can be wrong."""

import json
import os
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aquatint.data.findings import BadData
from aquatint.data.settings import Images
from aquatint.data.sources import read
from aquatint.data.sources.columns import PICTURES
from aquatint.data.sources.table import UNITS, parquet_rows

ROWS = [
    {"file_name": "sub/c.png", "text": "a cup", "weight": 0.5, "repeats": 3},
    {"file_name": "a.png", "text": "two\nlines", "weight": None, "repeats": None},
    {"file_name": "b.png", "text": None, "weight": 2, "repeats": 1},
]
EXPECTED = [("a.png", "two\nlines", 1.0, 1), ("b.png", None, 2.0, 1), ("sub/c.png", "a cup", 0.5, 3)]


def write(path: Path, rows: list[dict]) -> str:
    """The rows as the suffix asks."""
    suffix = path.suffix
    if suffix in (".csv", ".tsv"):
        import csv

        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def findings_of(source: str, **settings: object) -> list[str]:
    """What is said of a list, whether it can be used or not."""
    try:
        return [str(finding) for finding in read(source, Images(**settings)).findings]
    except BadData as error:
        return [str(finding) for finding in error.findings]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_kind_of_list_gives_the_same(photos_dir: Path, untouched, suffix: str, png) -> None:
    source = write(photos_dir / f"list{suffix}", ROWS)
    check = untouched(photos_dir)
    offer = read(source, Images())
    assert [(entry.name, entry.caption, entry.weight, entry.repeats) for entry in offer.entries] == EXPECTED
    assert [entry.place.read() for entry in offer.entries] == [png(0), png(1), png(2)]
    assert [str(finding) for finding in offer.findings] == [f"list{suffix}: read beside pictures and captions: weight, repeats"]
    check()


def test_every_kind_of_list_is_tested() -> None:
    assert set(UNITS) == {".csv", ".tsv", ".json", ".jsonl", ".parquet"}


@pytest.mark.parametrize(
    "content", [{"a.png": {"caption": "x"}, "b.png": {"caption": "y"}}, {"a.png": "x", "b.png": "y"}], ids=["objects", "captions"]
)
def test_json_by_name(photos_dir: Path, content: dict) -> None:
    path = photos_dir / "list.json"
    path.write_text(json.dumps(content))
    assert [(entry.name, entry.caption) for entry in read(str(path), Images()).entries] == [("a.png", "x"), ("b.png", "y")]


@pytest.mark.parametrize("column", PICTURES)
def test_the_column_of_pictures_goes_by_many_names(photos_dir: Path, column: str) -> None:
    source = write(photos_dir / "list.csv", [{"id": 7, column: "a.png", "caption": "x"}])
    assert [(entry.name, entry.caption) for entry in read(source, Images()).entries] == [("a.png", "x")]


def test_the_first_known_column_counts() -> None:
    assert PICTURES[:5] == ("file_name", "path", "image", "file", "image_path")
    assert len(PICTURES) == len(set(PICTURES)) == 11


def test_paths_absolute_up_and_in_another_spelling(tmp_path: Path, photos_dir: Path) -> None:
    apart = unicodedata.normalize("NFD", "café.png")
    (photos_dir / "a.png").rename(photos_dir / apart)
    lists = tmp_path / "lists"
    lists.mkdir()
    rows = [{"path": str(photos_dir / "b.png")}, {"path": "../photos/sub\\c.png"}, {"path": "../photos/caf\u00e9.png"}]
    offer = read(write(lists / "list.jsonl", rows), Images())
    assert [entry.name for entry in offer.entries] == ["b.png", apart, "sub/c.png"]
    assert [entry.place.path.samefile(photos_dir / entry.name) for entry in offer.entries] == [True] * 3
    assert not offer.findings


def test_captions_from_the_column_that_is_asked_for(photos_dir: Path) -> None:
    source = write(photos_dir / "list.csv", [{"file_name": "a.png", "text": "x", "caption": "y", "alt": "z"}])
    assert read(source, Images()).entries[0].caption == "x"
    assert read(source, Images(caption_column="alt")).entries[0].caption == "z"
    assert findings_of(source) == ["list.csv: captions are read from 'text', not 'caption' -> choose by images.caption_column"]
    assert "list.csv: has no column 'atl', but file_name, text, caption, alt" in findings_of(source, caption_column="atl")[0]


def test_columns_that_may_be_captions_are_told(photos_dir: Path) -> None:
    source = write(photos_dir / "list.csv", [{"file_name": "a.png", "alt": "z", "weight": 1}])
    assert read(source, Images()).entries[0].caption is None
    assert "there is no column text, caption, prompt, but alt ->" in findings_of(source)[0]
    assert findings_of(write(photos_dir / "bare.csv", [{"file_name": "a.png"}])) == []


def test_masks_are_files_too(photos_dir: Path, png) -> None:
    rows = [{"file_name": "a.png", "text": "x", "mask": "sub/c.png"}, {"file_name": "b.png", "text": "y"}]
    source = write(photos_dir / "list.jsonl", rows)
    masks = [entry.mask for entry in read(source, Images()).entries]
    assert masks[0].read() == png(2)
    assert masks[1] is None


def test_a_picture_in_several_rows(photos_dir: Path) -> None:
    rows = [{"file_name": name, "text": text} for name, text in (("a.png", "x"), ("./a.png", "y"), ("a.png", "x"), ("b.png", "x"))]
    offer = read(write(photos_dir / "list.json", rows), Images())
    assert [(entry.name, entry.caption) for entry in offer.entries] == [("a.png", "x"), ("a.png#2", "y"), ("b.png", "x")]
    assert [finding.level for finding in offer.findings] == ["warning", "note"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"file_name": "gone.png"}, "there is no gone.png"),
        ({"file_name": "sub"}, "there is no sub"),
        ({"file_name": "x" * 5000 + ".png"}, "there is no xxx"),
        ({"file_name": "a\0.png"}, "there is no a"),
        ({"file_name": "half \ud83d.png"}, "there is no half ?.png"),
        ({"file_name": " "}, "has no file_name"),
        ({"file_name": None}, "has no file_name"),
        ({"file_name": 3}, "has no file_name"),
        ({"file_name": "https://example.org/a.png"}, "'file_name' is a web address"),
        ({"file_name": "a.png", "mask": "gone.png"}, "there is no gone.png"),
        ({"file_name": "a.png", "text": 3}, "'text' is 3, not a text"),
        ({"file_name": "a.png", "text": "half \ud83d"}, "'text' holds half a character: half ?"),
        ({"file_name": "a.png", "weight": 0}, "'weight' is 0, not a number above 0"),
        ({"file_name": "a.png", "weight": "much"}, "'weight' is \"much\", not a number above 0"),
        ({"file_name": "a.png", "weight": float("nan")}, "'weight' is NaN, not a number above 0"),
        ({"file_name": "a.png", "weight": True}, "'weight' is true, not a number above 0"),
        ({"file_name": "a.png", "repeats": 1.5}, "'repeats' is 1.5, not a whole number above 0"),
        ({"file_name": "a.png", "repeats": -1}, "'repeats' is -1, not a whole number above 0"),
        ([1], "is not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_and_the_others_are_kept(photos_dir: Path, row: dict, told: str) -> None:
    source = write(photos_dir / "list.json", [{"file_name": "b.png", "text": "x"}, row])
    offer = read(source, Images())
    assert [entry.name for entry in offer.entries] == ["b.png"]
    errors = [finding for finding in offer.findings if finding.level == "error"]
    assert [finding.file for finding in errors] == ["list.json, item 2"]
    assert errors[0].what.startswith(told)
    assert "images.skip_bad" in errors[0].advice
    assert [finding.level for finding in read(source, Images(skip_bad=True)).findings if told in finding.what] == ["warning"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", "lists no pictures"),
        ("head.csv", b"file_name,text\n", "lists no pictures"),
        ("none.json", b"[]", "lists no pictures"),
        ("bare.csv", b"x.png,a cat\ny.png,a dog\n", "has no column of pictures (file_name, path, "),
        ("cut.json", b'[{"file_name": "a.png"', "is not JSON"),
        ("twice.json", b'{"a.png": "x", "a.png": "y"}', "'a.png' is given twice"),
        ("coco.json", b'{"images": [], "annotations": []}', "but an object of images, annotations"),
        ("number.json", b"3", "but 3"),
        ("deep.json", b"[" * 100_000, "is nested too deeply"),
        ("deep.jsonl", b"[" * 100_000, "is nested too deeply"),
        ("zero.csv", b"file_name\na\0.png\n", "is not text: a zero byte"),
        ("short.csv", b"file_name,text\na.png,x,y\n", "has 3 values for 2 columns"),
        ("no.parquet", b"PAR1 and no more", "is not Parquet, or is damaged"),
        ("gone.csv", None, "there is no such file or folder"),
    ],
)
def test_a_list_that_cannot_be_used(photos_dir: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (photos_dir / name).write_bytes(content)
    with pytest.raises(BadData) as raised:
        read(str(photos_dir / name), Images())
    assert told in str(raised.value)


def test_a_folder_that_has_moved_is_one_problem(photos_dir: Path) -> None:
    source = write(photos_dir / "list.csv", [{"file_name": f"old/{number}.png", "text": "x"} for number in range(50)])
    assert findings_of(source) == [
        "list.csv: not one of 50 pictures is there: there is no old/0.png -> paths are relative to the list's own folder, "
        f"{photos_dir.absolute()}"
    ]


def test_a_name_beside_is_proposed(photos_dir: Path) -> None:
    write(photos_dir / "list.csv", [{"file_name": "a.png"}])
    assert findings_of(str(photos_dir / "lst.csv"))[0].endswith(f"did you mean {photos_dir / 'list.csv'}?")


def test_rows_of_parquet_come_without_bytes_and_up_to_the_damage(tmp_path: Path) -> None:
    path, num_rows = tmp_path / "metadata.parquet", 2500
    names = [f"{number}.png" for number in range(num_rows)]
    table = pa.table({"file_name": names, "embedding": [os.urandom(64)] * num_rows, "text": ["x"] * num_rows})
    pq.write_table(table, path, row_group_size=1000, compression="none")
    rows = list(parquet_rows(path))
    assert rows == [(number + 1, {"file_name": name, "text": "x"}) for number, name in enumerate(names)]
    content = path.read_bytes()
    third = pq.ParquetFile(path).metadata.row_group(2).column(0)
    start = third.dictionary_page_offset or third.data_page_offset
    path.write_bytes(content[:start] + b"\xff" * 200 + content[start + 200 :])
    damaged = list(parquet_rows(path))
    assert damaged[:2000] == rows[:2000]
    assert len(damaged) == 2001
    assert "is damaged" in damaged[-1][1]
