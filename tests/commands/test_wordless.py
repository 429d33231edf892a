"""Bases that read no text, from pictures to a proven file, to the program of the README, and to what is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aquatint.cli import run
from aquatint.errors import AquatintError
from aquatint.families import ddpm
from aquatint.training.folder import RunFolder

Drawn = Callable[[Path], np.ndarray]

@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What it is told -> a base of the family `ddpm`; the one with classes knows their names."""
    made = {}
    for told in ("nothing", "classes"):
        torch.manual_seed(0)
        made[told] = tmp_path_factory.mktemp("ddpm") / told
        ddpm.tiny(told).pipeline.save_pretrained(made[told])
    (made["classes"] / "labels.json").write_text(json.dumps({"0": "disc", "1": "grey cat", "2": "sun, star"}))
    return made


@pytest.fixture(scope="module")
def bare(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures without captions."""
    folder: Path = tmp_path_factory.mktemp("bare")
    for path in photos.iterdir():
        if path.suffix != ".txt":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def sorted_by_class(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("sorted")
    for index, path in enumerate(sorted(bare.iterdir())):
        place = folder / ("disc", "STAR")[index % 2]
        place.mkdir(exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def drawn_by_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Run folder -> the picture that the program in its README draws, where nothing of aquatint can be imported."""

    def draw(out: Path) -> np.ndarray:
        code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
        with monkeypatch.context() as blocked:
            blocked.chdir(tmp_path)
            for name in ("aquatint", *(name for name in sys.modules if name.startswith("aquatint."))):
                blocked.setitem(sys.modules, name, None)
            exec(compile(code, "README.md", "exec"), {})
        return np.asarray(Image.open(tmp_path / "result.png"), dtype=int)

    return draw


def test_pictures_alone_are_enough(
    bases: dict[str, Path], bare: Path, tmp_path: Path, drawn_by_the_readme: Drawn, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(["train", str(bare), f"base={bases['nothing']}", "steps=3", "lr=1e-2", "samples.num_steps=2", f"out={out}"]) == 0
    said = capsys.readouterr()
    assert "proven" in said.out
    assert "caption" not in said.out + said.err
    assert "every picture is cropped to a square of 16 px" in said.out
    assert len(list((out / "samples" / "step_0000000").glob("*.png"))) == 4
    facts = RunFolder(out).read_facts()
    assert (facts["told"], facts["file"], facts["family"]) == ("nothing", "adapter", "ddpm")
    assert "aquatint generate run\n" in (out / "README.md").read_text()
    assert run(["generate", str(out), "num=2", "batch_size=1", f"out={tmp_path / 'ours'}", "cpu=true"]) == 0
    ours = np.asarray(Image.open(tmp_path / "ours" / "42.png"), dtype=int)
    assert np.abs(drawn_by_the_readme(out) - ours).max() == 0


def test_a_class_is_asked_for_by_its_name(
    bases: dict[str, Path], sorted_by_class: Path, tmp_path: Path, drawn_by_the_readme: Drawn
) -> None:
    out = tmp_path / "run"
    how = ["steps=3", "lr=1e-3", "samples.every=0", "samples.prompts=[STAR]", "method=full", "images.caption_from_folder=true"]
    assert run(["train", str(sorted_by_class), f"base={bases['classes']}", f"out={out}", *how]) == 0
    facts = RunFolder(out).read_facts()
    assert (facts["told"], facts["sample_prompt"], facts["label"]) == ("classes", "STAR", 2)
    assert json.loads((out / "model" / "labels.json").read_text()) == ["disc", "grey cat", "sun, star"]
    assert run(["generate", str(out), "prompt=2", f"out={tmp_path / 'ours'}", "cpu=true"]) == 0
    ours = np.asarray(Image.open(tmp_path / "ours" / "42.png"), dtype=int)
    assert np.abs(drawn_by_the_readme(out) - ours).max() == 0
    assert run(["generate", str(out / "model"), "prompt=disc", f"out={tmp_path / 'discs'}", "cpu=true"]) == 0
    assert np.abs(np.asarray(Image.open(tmp_path / "discs" / "42.png"), dtype=int) - ours).max() > 0


REFUSED = [
    ("nothing", ["trigger=zwx"], "trigger: this base draws what it has learned and is told nothing"),
    ("nothing", ["samples.prompts=[a cat]"], "samples.prompts: this base"),
    ("nothing", ["samples.scale=3"], "samples.scale: this base"),
    ("nothing", ["images.template=a {caption}"], "images.template: this base"),
    ("nothing", ["loss.caption_dropout=0.1"], "loss.caption_dropout: this base"),
    ("nothing", ["method=pivotal", "trigger=zwx"], "it reads no text"),
    ("nothing", ["method.text_encoder=true"], "it reads no text"),
    ("nothing", ["images.resolution=32"], "images.resolution=[32]: this base draws and is shown squares of 16 px alone"),
    ("nothing", ["prior.num=4"], "no words to draw other things by"),
    ("classes", ["trigger=zwx"], "trigger: this base is told a class and reads no text"),
    ("classes", [], "there is no class 'a crimson disc'; known: disc, grey cat, sun, star"),
    ("classes", ["images.template=disk"], "did you mean 'disc'?"),
    ("classes", ["images.template=disc", "samples.scale=3"], "samples.scale=3: there is no guidance for this base"),
    ("classes", ["images.template=disc", "samples.prompts=[disc, moon]"], "there is no class 'moon'"),
    ("classes", ["images.template=disc", "loss.caption_dropout=0.1"], "no class for pictures of none"),
]


@pytest.mark.parametrize(("told", "settings", "why"), REFUSED)
def test_what_would_have_no_effect_is_refused(
    told: str, settings: list[str], why: str, bases: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(AquatintError) as refused:
        run(["train", str(photos), f"base={bases[told]}", "steps=2", f"out={tmp_path / 'run'}", *settings])
    assert why in " ".join(str(refused.value).split())
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("told", "settings", "why"),
    [
        ("nothing", ["prompt=a cat"], "prompt=a cat: this base draws what it has learned and is told nothing"),
        ("nothing", ["negative=a cat"], "negative=a cat: this base's stock pipeline takes no negative prompt"),
        ("nothing", ["scale=2"], "scale=2: there is no guidance for this base"),
        ("nothing", ["size=[32,32]"], "size=[32, 32]: squares of 16 px are all"),
        ("classes", [], "every picture of this base is of a class; name one: disc, grey cat, sun, star"),
        ("classes", ["prompt=gray cat"], "there is no class 'gray cat'; did you mean 'grey cat'?"),
    ],
)
def test_what_nobody_would_listen_to_is_not_drawn(
    told: str, settings: list[str], why: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(AquatintError) as refused:
        run(["generate", str(bases[told]), f"out={tmp_path / 'pictures'}", *settings])
    assert why in str(refused.value)
    assert not (tmp_path / "pictures").exists()
