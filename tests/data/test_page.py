"""The page of a set: whole, escaped, and alone; what is flagged is on it."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from aquatint.commands.inspect import Inspect, run
from aquatint.data.findings import Finding
from aquatint.data.page import CELL_PX, MAX_FINDINGS, MAX_PICTURES, page
from aquatint.data.records import ImageRecord
from aquatint.errors import AquatintError

LOADING = ("src", "href", "data", "poster", "srcset", "action")
EVIL = "<script>alert('x')</script>.png"


class Parsed(HTMLParser):
    """What a browser would see; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.open, self.tags, self.attributes, self.text = html, [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data if "style" not in self.open else ""

    def named(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    def pictures(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))) for uri in self.named("src")]


def record(name: str, caption: str = "a thing") -> ImageRecord:
    return ImageRecord(Path(name), name, caption, 400, 300, name)


def page_of(records: list[ImageRecord], findings: list[Finding], **options) -> Parsed:
    usual = {"sizes": [(64, 48)] * len(records), "thumbnail": lambda name: Image.new("RGB", (640, 480), "teal"), "title": "my set"}
    return Parsed(page(records, findings=findings, **(usual | options)))


FINDINGS = [
    Finding("error", "bad.png", "is a web page", "fetch it again"),
    Finding("warning", "1.png", "looks like 2.png", "keep the best", ("2.png",)),
    Finding("note", EVIL, "has <b>long</b> words & more"),
]
RECORDS = [record("1.png"), record("2.png"), record("3.png", "a fox"), record(EVIL, "<img src=x onerror=alert(1)> \"quoted\" 'too'")]


def test_says_what_was_found_and_shows_it() -> None:
    found = page_of(RECORDS, FINDINGS, sizes=[(64, 48), (64, 48), (56, 56), (56, 56)])
    for words in (
        "my set", "4 pictures in 2 buckets: 1 error, 1 warning, 1 note.", "Errors (1)", "Warnings (1)", "Notes (1)", "looks like 2.png",
        "keep the best", "64 × 48", "56 × 56", "a thing2", "a fox", "fetch it again",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.named("alt") == ["1.png", "2.png", EVIL, "3.png", EVIL, "1.png", "2.png"]  # beside findings, then by bucket
    assert "not shown" not in found.text
    for picture in found.pictures():
        assert picture.format == "JPEG"
        assert max(picture.size) <= CELL_PX
        assert picture.getpixel((5, 5)) == pytest.approx((0, 128, 128), abs=4)


def test_loads_nothing_and_runs_nothing() -> None:
    found = page_of(RECORDS, FINDINGS)
    assert {"script", "b", "link", "iframe", "object", "form"} & set(found.tags) == {"b"}
    assert found.tags.count("b") == 3 + 4, "one for each finding and each picture: those in names are text"
    values = [value for name, value in found.attributes if name in LOADING]
    assert len(values) == 7
    assert all(value.startswith("data:image/jpeg;base64,") for value in values)
    assert not re.search(r"url\(|@import|https?://", found.html)
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in found.named("content")
    for words in (EVIL, "<img src=x onerror=alert(1)>", "<b>long</b> words & more"):
        assert words in found.text


def test_a_large_set_shows_the_flagged_and_a_spread_of_the_others() -> None:
    records = [record(f"{index}.png", f"thing {index}") for index in range(2_000)]
    asked: list[str] = []

    def thumbnail(name: str) -> Image.Image:
        asked.append(name)
        return Image.new("RGB", (8, 6))

    found = page_of(records, [Finding("warning", "1999.png", "is odd", "", ("1001.png",))], thumbnail=thumbnail)
    assert len(asked) == len(set(asked)) == MAX_PICTURES
    assert {"1999.png", "1001.png", "0.png"} <= set(asked)
    assert sum(int(name[:-4]) < 1000 for name in asked) == pytest.approx(150, abs=2)
    assert "1,700 pictures of 2,000 not shown" in found.text
    many = page_of(records, [Finding("warning", f"{index}.png", "is odd") for index in range(1_500)], thumbnail=thumbnail)
    assert f"… and {1_500 - MAX_FINDINGS:,} more." in many.text
    assert len(asked) == 2 * MAX_PICTURES


def test_a_clean_and_an_empty_set_have_a_page() -> None:
    assert "3 pictures in 1 bucket: nothing to mend." in page_of(RECORDS[:3], []).text
    assert "0 pictures in 0 buckets" in page_of([], []).text
    found = page_of(RECORDS[:1], FINDINGS[:2], thumbnail=lambda name: None)
    assert found.pictures() == []
    assert "1 picture of 1 not shown" in found.text
    assert "Captions" not in page_of([record("1.png", "")], []).text


def test_inspect_writes_it_beside_the_data_and_never_into_it(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    lines = [str(line) for line in run(Inspect(data=photos, resolution=32, out=out))]
    assert f"page: {out}" in lines
    found = Parsed(out.read_text(encoding="utf-8"))
    assert "6 pictures in" in found.text
    assert {"crimson.jpg", "plum.png"} <= set(found.named("alt"))
    assert {max(picture.size) for picture in found.pictures()} <= {32, 40, 48}, "as the model sees them"
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    with pytest.raises(AquatintError, match="nothing is ever written"):
        list(run(Inspect(data=photos, out=photos / "page.html")))
