"""A picture is decoded whole once; the next start finds what was seen, unless anything changed."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.data import book as book_module
from aquatint.data import looks
from aquatint.data.book import Book
from aquatint.data.kept import default_root
from aquatint.data.looks import Look, look_at, look_at_all
from aquatint.data.pictures import read_picture
from aquatint.data.places import File, Place


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "kept"))
    return default_root()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Every place that was looked at."""
    places: list[Place] = []

    def counting(place: Place) -> Look:
        places.append(place)
        return look_at(place)

    monkeypatch.setattr(looks, "look_at", counting)
    return places


def noise(path: Path, size: tuple[int, int] = (640, 480), **options: object) -> File:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 16, size[0] // 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize(size).save(path, **options)
    return File(path)


def test_a_second_look_decodes_nothing(tmp_path: Path, looked: list[Place]) -> None:
    places = [noise(tmp_path / "a.png"), noise(tmp_path / "b.jpg")]
    (tmp_path / "c.png").write_bytes(b"<html>")
    places.append(File(tmp_path / "c.png"))
    first = look_at_all(places)
    assert looked == places
    assert look_at_all(places) == first
    assert len(looked) == 3
    noise(tmp_path / "b.jpg", (320, 240))
    again = look_at_all(places)
    assert looked[3:] == [places[1]]
    assert isinstance(again[1], Look)
    assert (again[0], again[1].width_px, again[2]) == (first[0], 320, first[2])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1601, 1600), (1600, 1601), (640, 1600), (300, 300), (90, 200)])
def test_a_quick_look_sees_the_size_and_the_picture(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    place = noise(tmp_path / "a.jpg", size, exif=exif, quality=95)
    whole, quick = read_picture(place), read_picture(place, enough_px=256)
    assert quick.size == whole.size == whole.image.size == (size if orientation < 5 else size[::-1])
    assert min(quick.image.size) >= min(256, *size)
    assert min(size) < 1024 or quick.image.width <= whole.image.width // 2 + 1
    small = [np.asarray(picture.image.resize((8, 8), Image.Resampling.BOX), int) for picture in (whole, quick)]
    assert np.abs(small[0] - small[1]).max() <= 4


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_quick_look_finds_a_cut_wherever_it_is(tmp_path: Path, options: dict[str, object]) -> None:
    place = noise(tmp_path / "a.jpg", (1600, 1200), **options)
    content = place.path.read_bytes()
    for percent in range(1, 100, 7):
        place.path.write_bytes(content[: len(content) * percent // 100])
        assert look_at(place).reason, percent


def test_places_that_cannot_be_read_are_told_and_not_kept(tmp_path: Path, looked: list[Place]) -> None:
    place = File(tmp_path / "a.png")
    assert isinstance(look_at_all([place])[0], FileNotFoundError)
    noise(place.path)
    assert isinstance(look_at_all([place])[0], Look)
    assert looked == [place]


@pytest.mark.parametrize("damage", ["not a database", "another table", "a folder"])
def test_a_damaged_book_costs_time_alone(tmp_path: Path, own_root: Path, damage: str) -> None:
    place, book = noise(tmp_path / "a.png"), own_root / "looks.sqlite3"
    expected = look_at_all([place])
    book.unlink()
    if damage == "a folder":
        book.mkdir()
    elif damage == "not a database":
        book.write_bytes(b"x" * 4096)
    else:
        with sqlite3.connect(book) as database:
            database.execute("CREATE TABLE facts (a INTEGER)")
    with pytest.warns(UserWarning, match="looked at anew"):
        assert look_at_all([place]) == expected


def test_a_book_where_one_may_not_look_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name too long stands for a folder that must not be entered, which root cannot make."""
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / ("x" * 300)))
    with pytest.warns(UserWarning, match="looked at anew"):
        assert isinstance(look_at_all([noise(tmp_path / "a.png")])[0], Look)


def test_another_version_looks_anew(tmp_path: Path, looked: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    place = noise(tmp_path / "a.png")
    look_at_all([place])
    monkeypatch.setattr(book_module, "VERSION", "another")
    look_at_all([place])
    assert len(looked) == 2


def test_more_signatures_than_one_question_holds(own_root: Path) -> None:
    seen = {f"place {index}": [index, "a remark"] for index in range(2000)}
    Book().write(seen)
    assert Book().read([*seen, "unknown"]) == seen
    assert os.path.getsize(own_root / "looks.sqlite3") < 2**20


def test_a_damaged_line_of_the_book_is_found_anew(tmp_path: Path, own_root: Path, looked: list[Place]) -> None:
    places = [noise(tmp_path / "a.png"), noise(tmp_path / "b.png")]
    expected = look_at_all(places)
    with closing(sqlite3.connect(own_root / "looks.sqlite3")) as database, database:
        database.execute("UPDATE facts SET facts = replace(facts, '640', '64')")
    assert look_at_all(places) == expected
    assert len(looked) == 4
    with closing(sqlite3.connect(own_root / "looks.sqlite3")) as database, database:
        database.execute("UPDATE facts SET facts = 'null'")
    assert look_at_all(places) == expected


def test_a_locked_book_is_asked_once(tmp_path: Path, own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "PATIENCE_SECONDS", 0.01)
    places = [noise(tmp_path / f"{index}.png") for index in range(3)]
    expected = look_at_all(places)
    monkeypatch.setattr(looks, "AT_ONCE", 1)
    with closing(sqlite3.connect(own_root / "looks.sqlite3")) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="looked at anew") as told:
            assert look_at_all(places) == expected
    assert len(told) == 1
