"""`prior.data` from the command line to the file: counted, told, logged apart, never written to, and refused when it is another."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.commands import train
from aquatint.errors import AquatintError, BadRun
from aquatint.training.settings import Train

FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Four pictures of the class, one without a caption."""
    (folder := tmp_path / "class").mkdir()
    for index, colour in enumerate(("pink", "brown", "lime", "gray")):
        Image.new("RGB", (16 + 8 * index, 16), colour).save(folder / f"{colour}.png")
        (folder / f"{colour}.txt").write_text(f"a {colour} square" if index else "", encoding="utf-8")
    return folder


@pytest.fixture
def line(photos: Path, tiny_sd: Path, others: Path) -> list[str]:
    how = ["steps=3", "resolution=16", "samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=1"]
    return [f"data={photos}", f"base={tiny_sd}", "precision=fp32", "--class_data_dir", str(others), *how]


def events(out: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def texts(out: Path) -> list[str]:
    return [event["text"] for event in events(out, "Noted")]


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_run_with_pictures_of_the_class(
    line: list[str], others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On without a trigger, where no prior is drawn; a second start asks the base nothing."""
    kept = tmp_path / "cache"
    monkeypatch.setenv("AQUATINT_CACHE", str(kept))
    before = content(others)
    assert run(["train", *line, f"out={tmp_path / 'one'}"]) == 0
    assert "the prior's)" in capsys.readouterr().out
    out = tmp_path / "one"
    assert "prior: your 4 pictures" in texts(out)
    assert any("1 picture of 4 without a caption: pink.png; theirs is empty" in text for text in texts(out))
    steps = events(out, "Stepped")
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert steps[0]["prior_loss"] < 1e-9 < steps[2]["prior_loss"]  # nothing is to be mended before the first step
    assert [step["own_loss"] + step["prior_loss"] for step in steps] == pytest.approx([step["loss"] for step in steps])
    shards = content(kept)
    assert len(shards) > 2
    assert run(["train", *line, f"out={tmp_path / 'two'}"]) == 0
    assert content(kept) == shards
    assert len(before) == 8
    assert content(others) == before
    one, two = (load_file(tmp_path / name / FILE) for name in ("one", "two"))
    assert len(one) > 10
    assert all(bool((tensor == two[name]).all()) for name, tensor in one.items())


def test_so_many_of_them_and_of_no_weight_none(line: list[str], photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    some, off, none = tmp_path / "some", tmp_path / "off", tmp_path / "none"
    assert run(["train", *line, "--num_class_images=3", "--prior_loss_weight=0.5", f"out={some}"]) == 0
    assert "prior: 3 of your 4 pictures, drawn by the seed" in texts(some)
    assert len(events(some, "Stepped")) == 3
    assert run(["train", *line, "--prior_loss_weight=0", f"out={off}"]) == 0
    assert run(["train", *(part for part in line if "class" not in part), f"out={none}"]) == 0
    assert not any("prior" in text for text in texts(off))
    assert events(off, "Stepped")[0]["prior_loss"] is None
    same, other, with_prior = (load_file(out / FILE) for out in (off, none, some))
    assert len(same) > 10
    assert all(bool((tensor == other[name]).all()) for name, tensor in same.items())
    assert any(bool((tensor != with_prior[name]).any()) for name, tensor in same.items())


def test_those_that_are_missing_are_drawn_by_the_prompt(line: list[str], others: Path, tmp_path: Path) -> None:
    """For either way of keeping them; the folder stays as it is. Its captions give way to the prompt."""
    before = content(others)
    for preserve in ("outputs", "pictures"):
        out = tmp_path / preserve
        assert run(["train", *line, "--num_class_images=6", "--class_prompt=a square", f"prior.preserve={preserve}", f"out={out}"]) == 0
        assert "prior: your 4 pictures, and 2 that the base draws" in texts(out)
        assert not any("without a caption" in text for text in texts(out))
        assert (events(out, "Stepped")[0]["prior_loss"] < 1e-9) == (preserve == "outputs")
    assert content(others) == before


def test_a_resume_with_other_pictures_is_refused(line: list[str], others: Path, tmp_path: Path) -> None:
    out, aside = tmp_path / "run", shutil.copytree(others, tmp_path / "aside")
    begun = train.run(Train.read([*line, f"out={out}"]))
    for event in begun:
        if type(event).__name__ == "Stepped" and event.step == 2:
            begun.close()

    def restored() -> None:
        shutil.rmtree(others)
        shutil.copytree(aside, others)

    (others / "gray.txt").write_text("a grey square", encoding="utf-8")
    with pytest.raises(BadRun, match=r"prior.data: captions changed"):
        run(["resume", str(out)])
    restored()
    Image.new("RGB", (40, 16), "red").save(others / "gray.png")
    with pytest.raises(BadRun, match=r"prior.data: pictures changed under the same name"):
        run(["resume", str(out)])
    restored()
    Image.new("RGB", (40, 16), "red").save(others / "red.png")
    with pytest.raises(BadRun, match=r"prior.data: pictures are new: red.png"):
        run(["resume", str(out)])
    restored()
    with pytest.raises(BadRun, match=r"prior.data: pictures are gone: .*pink.png"):
        run(["train", str(out / "config.yaml"), "resume=true", "prior.weight=0"])
    assert run(["resume", str(out)]) == 0
    assert [step["step"] for step in events(out, "Stepped")] == [1, 2, 3]


def test_what_is_wrong_is_told_at_once(line: list[str], others: Path, photos: Path, tmp_path: Path) -> None:
    (others / "notes.png").write_text("milk")
    with pytest.raises(AquatintError) as caught:
        run(["train", *line, "method=pivotal", f"out={others / 'run'}"])
    for part in ("prior.data: 1 problem", "notes.png", "teaches the model a new word", "is never written to"):
        assert part in str(caught.value)
    (others / "notes.png").unlink()
    with pytest.raises(AquatintError, match=r"prior.num: 5 pictures are asked for and .* has 4"):
        run(["train", *line, "prior.num=5", f"out={tmp_path / 'run'}"])
    with pytest.raises(AquatintError, match=r"prior.data: .*nowhere"):
        run(["train", *line[:2], f"prior.data={tmp_path / 'nowhere'}", f"out={tmp_path / 'run'}"])


def test_pictures_on_both_sides_are_doubted(line: list[str], others: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "teal.png", others / "copy.png")
    (others / "copy.txt").write_text("a Zwx disc", encoding="utf-8")
    assert run(["train", *line, "trigger=zwx", f"out={tmp_path / 'run'}"]) == 0
    said = "\n".join(texts(tmp_path / "run"))
    assert "1 picture among the pictures to learn too: copy.png" in said
    assert "1 picture with zwx in the caption, which is to be learned: copy.png" in said
