"""Several sources as one: names that stay apart, shares that multiply, and all problems at once."""

import os
from pathlib import Path

import pytest

from aquatint.config import SettingsError
from aquatint.data.findings import BadData
from aquatint.data.settings import Images
from aquatint.data.sources import read
from aquatint.training.settings import Train


@pytest.fixture
def mixed(photos_dir: Path) -> Path:
    """A folder for mixes beside two lists, `one.csv` and `two/one.csv`."""
    (photos_dir / "one.csv").write_text("file_name,text,alt,weight,repeats\na.png,x,X,0.5,2\nb.png,y,Y,,\n")
    (photos_dir / "two").mkdir()
    (photos_dir / "two" / "one.csv").write_text("file_name,text\n../b.png,z\n")
    return photos_dir


def mix(folder: Path, text: str) -> str:
    (folder / "mix.yaml").write_text(text)
    return str(folder / "mix.yaml")


def problems(source: str) -> list[str]:
    with pytest.raises(BadData) as raised:
        read(source, Images())
    return [str(finding) for finding in raised.value.findings if finding.level == "error"]


def test_names_stay_apart_and_shares_multiply(mixed: Path, untouched, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mix(mixed, "- {data: one.csv, repeats: 3, weight: 0.5}\n- data: two/one.csv\n- one.csv\n")
    check = untouched(mixed)
    monkeypatch.chdir(mixed.parent)
    offer = read(os.path.relpath(source), Images())
    assert [(entry.name, entry.caption, entry.weight, entry.repeats) for entry in offer.entries] == [
        ("one.csv-2/b.png", "z", 1.0, 1),
        ("one.csv-3/a.png", "x", 0.5, 2),
        ("one.csv-3/b.png", "y", 1.0, 1),
        ("one.csv/a.png", "x", 0.25, 6),
        ("one.csv/b.png", "y", 0.5, 3),
    ]
    assert {finding.file for finding in offer.findings} == {"one.csv/one.csv", "one.csv-3/one.csv"}
    check()


def test_each_source_may_have_a_caption_column_of_its_own(mixed: Path) -> None:
    source = mix(mixed, "- {data: one.csv, caption_column: alt}\n- two/one.csv\n")
    assert [entry.caption for entry in read(source, Images(caption_column="text")).entries] == ["z", "X", "Y"]


def test_a_mix_of_mixes(mixed: Path) -> None:
    (mixed / "two" / "inner.yml").write_text("- {data: one.csv, repeats: 2}\n- {data: ../one.csv}\n")
    source = mix(mixed, "- {data: two/inner.yml, repeats: 5}\n- {data: two/inner.yml}\n")
    offer = read(source, Images())
    assert len({entry.name for entry in offer.entries}) == len(offer.entries) == 6
    assert {entry.name: entry.repeats for entry in offer.entries}["inner.yml/one.csv/b.png"] == 10


def test_a_mix_that_contains_itself(mixed: Path) -> None:
    (mixed / "two" / "inner.yaml").write_text("- ../mix.yaml\n")
    found = problems(mix(mixed, "- one.csv\n- two/inner.yaml\n"))
    assert len(found) == 1
    assert "contains itself: mix.yaml -> inner.yaml -> mix.yaml" in found[0]
    (mixed / "two" / "inner.yaml").write_text("- one.csv\n")
    assert len(read(str(mixed / "mix.yaml"), Images()).entries) == 3  # nothing is remembered of the failure


def test_all_problems_at_once(mixed: Path) -> None:
    (mixed / "broken.csv").write_text("file_name,text\na.png,x\ngone.png,y\n")
    lines = ("{data: one.csv, repeat: 2}", "{data: gone.csv}", "{repeats: 0, weight: .nan}", "3", "[a]", "broken.csv")
    found = problems(mix(mixed, "".join(f"- {line}\n" for line in lines)))
    for told in (
        "mix.yaml, source 1: repeat", "did you mean", "gone.csv: there is no such file or folder", "mix.yaml, source 3: data",
        "mix.yaml, source 3: repeats", "mix.yaml, source 3: weight", "source 5: is \"['a']\"",
        "broken.csv/broken.csv, line 3: there is no gone.png",
    ):  # fmt: skip
        assert [told in line for line in found].count(True) >= 1, (told, found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds nothing"),
        ("[]", "holds nothing"),
        ("data: one.csv", "holds a dict, not a list"),
        ("one.csv", "not a list"),
        ("- {data: one.csv", "line 1"),
        ("- {data: one.csv, data: b}", "'data' is given twice"),
        ("[" * 5000, "nested too deeply"),
        ("- {data: ''}", "source 1: data"),
    ],
)
def test_what_is_no_mix(mixed: Path, text: str, told: str) -> None:
    assert told in "\n".join(problems(mix(mixed, text)))


def test_no_such_mix(mixed: Path) -> None:
    assert "there is no such file or folder" in problems(str(mixed / "other.yaml"))[0]


def test_a_mix_without_its_name_is_not_settings(mixed: Path) -> None:
    source = mix(mixed, "- one.csv\n")
    with pytest.raises(SettingsError, match=f"a list of sources is given as data={source}"):
        Train.read(file=Path(source))
    assert str(Train.read([f"data={source}"]).data) == source
