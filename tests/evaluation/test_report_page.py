"""The report of whole, stopped, and damaged run folders."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aquatint.evaluation.record import RunRecord
from aquatint.evaluation.report import write_readme, write_report

LOADING = ("src", "href", "data", "poster", "srcset", "action", "xlink:href")


class Page(HTMLParser):
    """What a browser would see; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""

    def pictures(self) -> list[Image.Image]:
        uris = [value for name, value in self.attributes if name == "src"]
        return [Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))) for uri in uris]


def page_of(run_dir: Path) -> Page:
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


def test_says_what_the_run_was(run_dir: Path) -> None:
    page = page_of(run_dir)
    for words in (
        "my cup", "small-base, trained on 12 pictures by LoRA (rank 16)", "Finished after 40 steps", "797,184", "3.2 MB", "6 min 12 s",
        "0.431", "0.412 to 0.452", "0.702", "0.690 to 0.716", "likeness", "1.23e-7", "0.314", "128 keys", "stock diffusers", "0.002",
        "step 33", "rank: 16", "steps=40: seen often", "torch 2.13.0", "import StableDiffusionPipeline", "seed 43", "0.111 at last",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags.count("svg") == 5, "loss and rate for two screens, and the one measure with both sides"


def test_what_others_wrote_stays_text(written: Any, run_dir: Path) -> None:
    page = page_of(run_dir)
    assert {"script", "b", "i", "u"}.isdisjoint(page.tags)
    for words in (written.prompts[1], written.facts["trigger"], "07.jpg will look <i>soft</i>", "note: <u>&"):
        assert str(words) in page.text
    assert any(name == "alt" and written.prompts[1] in value for name, value in page.attributes)


def test_loads_nothing(run_dir: Path) -> None:
    html = write_report(run_dir).read_text(encoding="utf-8")
    page = Page(html)
    assert all(value.startswith("data:image/") for name, value in page.attributes if name in LOADING)
    assert {"link", "script", "iframe", "object"}.isdisjoint(page.tags)
    assert not re.search(r"url\(|@import|https?://", html)
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_pictures_travel_with_the_page(run_dir: Path) -> None:
    pictures = page_of(run_dir).pictures()
    assert len(pictures) == 1 + 2 * 3
    assert pictures[0].size == (1800, 150)
    assert [p.getpixel((5, 5)) for p in pictures[1:4]] == [(step * 5, 100, 200) for step in (0, 20, 40)]


def test_wide_samples_are_made_smaller(written: Any, run_dir: Path) -> None:
    shutil.rmtree(run_dir / "samples")
    written.write_samples(size=(1024, 512))
    assert {p.size for p in page_of(run_dir).pictures()[1:]} == {(320, 160)}


def test_many_steps_are_thinned_to_first_and_last(run_dir: Path) -> None:
    for step in range(100, 130):
        shutil.copytree(run_dir / "samples/step_0000020", run_dir / f"samples/step_{step:07d}")
    text = page_of(run_dir).text
    assert "step 0" in text
    assert "step 129" in text
    assert len(page_of(run_dir).pictures()) == 1 + 2 * 8


@pytest.mark.parametrize("name", ["config.yaml", "log.jsonl", "samples", "before_after.png", "facts.json"])
def test_any_part_may_be_missing_or_broken(run_dir: Path, name: str) -> None:
    whole = page_of(run_dir).text
    path = run_dir / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    without = page_of(run_dir)
    assert "my cup" in without.text
    assert (without.text, without.pictures()) != (whole, page_of(run_dir).pictures())
    path.write_bytes(b"\xff\xfe{[not: what\nit should be")
    assert "my cup" in page_of(run_dir).text


@pytest.mark.parametrize("value", [None, "odd", -1, [], {"odd": [1]}])
def test_any_fact_may_be_missing_or_odd(written: Any, run_dir: Path, value: object) -> None:
    (run_dir / "before_after.png").unlink()
    assert len(written.facts) == 15
    for key in written.facts:
        written.write_facts({key: value})
        assert "my cup" in page_of(run_dir).text
        assert write_readme(run_dir).is_file()


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    assert "The log holds no step yet" in page_of(tmp_path).text


def test_a_stopped_run_says_how_to_go_on(written: Any, run_dir: Path) -> None:
    (run_dir / "facts.json").unlink()
    written.write_log([*written.events[:13], {"event": "Stopped", "step": 10, "path": "x"}])
    text = page_of(run_dir).text
    assert "Stopped after 10 of 40 steps" in text
    assert "aquatint resume 'my cup'" in text
    assert "Proof" not in text


def test_a_finished_run_without_proof_says_so(run_dir: Path) -> None:
    (run_dir / "facts.json").unlink()
    assert "was not compared" in page_of(run_dir).text


def test_a_resumed_run_is_told_once(written: Any, run_dir: Path) -> None:
    """Steps after the checkpoint were done twice; the second time counts."""
    again = [{"event": "Started", "step": 5, "num_steps": 40, "num_trainable": 3}, *(written.stepped(step, 9.0) for step in range(6, 9))]
    written.write_log([*written.events[:13], {"event": "Stopped", "step": 10, "path": "x"}, *again])
    record = RunRecord.read(run_dir)
    assert [step for step, _ in record.points("Stepped", "loss")] == list(range(1, 9))
    assert [loss for _, loss in record.points("Stepped", "loss")][5:] == [9.0] * 3
    assert record.step == 8
    assert record.seconds == pytest.approx(8 * 0.5)
    assert record.of("Stopped") == []
    assert record.notes(is_warning=True) == ["07.jpg will look <i>soft</i>"]


def test_a_long_run_has_a_small_page(written: Any, run_dir: Path) -> None:
    written.write_log([written.events[2], *(written.stepped(step, 0.1 + step % 7 / 100) for step in range(1, 20_001))])
    assert "20,000" in page_of(run_dir).text
    assert (run_dir / "report.html").stat().st_size < 300_000


def test_a_log_line_may_hold_line_separators(run_dir: Path) -> None:
    event = {"event": "Noted", "step": 0, "text": "one\u2028two\x85three", "is_warning": True}
    (run_dir / "log.jsonl").write_text(json.dumps(event, ensure_ascii=False) + "\n", encoding="utf-8")
    assert RunRecord.read(run_dir).notes(is_warning=True) == [event["text"]]


def test_a_hub_token_is_not_shown(run_dir: Path) -> None:
    token = "hf_" + "aB3" * 11
    (run_dir / "config.yaml").write_text(f"key: {token}\n")
    assert token not in write_report(run_dir).read_text(encoding="utf-8")


def test_writing_again_replaces_and_leaves_nothing_beside(run_dir: Path) -> None:
    names = {p.name for p in run_dir.iterdir()} | {"report.html"}
    first = write_report(run_dir).read_bytes()
    assert write_report(run_dir).read_bytes() == first
    assert {p.name for p in run_dir.iterdir()} == names
