"""docs/data.md is true: its example data are laid out as it shows them, and its commands run on them."""

import ast
import os
import re
import runpy
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from aquatint.cli import run

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`(?P<name>[^`\n]+)`:\n```\w+\n(?P<content>.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
NETWORK = ("hub:", "images.captioner=")
SCANS = {".dcm": str(get_testdata_file("CT_small.dcm", download=False)), ".nii": f"{nibabel.__path__[0]}/tests/data/anatomical.nii"}

SHOWN = {
    "aquatint inspect photos trigger=zwx out=page.html": ["zwx, a tabby cat on a sofa", "garden/bird.webp", "page: page.html"],
    "aquatint inspect studio": ["a red vase, on a table", "a blue vase"],
    'aquatint inspect photos trigger=zwx images.template="a photo of {trigger}: {caption}"': ["a photo of zwx: a dog in the rain"],
    "aquatint inspect tagged trigger=zwx images.caption_shuffle=true": [", studio light (1 of "],
    "aquatint inspect list.csv": ["photos/cat.png", "a dog", "bucket 576 x 448: 4", "read beside pictures and captions: weight, repeats"],
    "aquatint inspect list.json": ["a cat", "a dog"],
    "aquatint inspect saved": ["a cat", "a dog"],
    "aquatint inspect shards": ["train-000/0001.png", "a cat", "train-000/0002.jpg", "a dog", "train-001/0003.png", "a bird", "1 mask"],
    'aquatint inspect "shards/train-{000..001}.tar"': ["train-001/0003.png", "a bird"],
    'aquatint inspect "shards/*.tar"': ["train-001/0003.png", "a bird"],
    "aquatint inspect data=mix.yaml": ["photos/garden/bird.webp", "list.csv/photos/cat.png", "shards/train-001/0003.png", "studio/two.png"],
    "aquatint inspect masked trigger=zwx": ["a zwx on a table", "2 masks beside 2 pictures"],
    "aquatint inspect scans images.resolution=64": ["chest.dcm", "brain.nii#12", "DICOM 16-bit grey", "a slice of a brain"],
    'aquatint inspect scans images.resolution=64 images.slices=y "images.window=[40,400]"': ["brain.nii#8", "from -160 (black) to 240"],
    'aquatint inspect photos "images.resolution=[512,768]" images.crop=focus images.flip=true': ["576 x 448", "cat.png"],
    "aquatint inspect photos out=sheet.png": ["contact sheet: sheet.png"],
}
"""Commands of the guide that are to show more than that they run."""


def commands() -> list[str]:
    return [line for block in SHELL.finditer(GUIDE) for line in block["lines"].splitlines() if line.strip()]


def picture(path: Path) -> None:
    """Blocks in random colours, sharp and large enough for 512 pixels; of a mask the left half."""
    blocks = np.random.default_rng(list(path.name.encode())).integers(0, 256, (60, 80, 3), np.uint8)
    image = Image.fromarray(blocks).resize((640, 480), Image.Resampling.NEAREST)
    if "mask" in path.stem:
        image = Image.new("L", image.size, 0)
        image.paste(255, (0, 0, 320, 480))
    image.save(path)


def lay(path: Path, content: str) -> None:
    """A file that the guide calls by this name: a picture, a scan, or text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in SCANS:
        shutil.copyfile(SCANS[path.suffix], path)
    elif path.suffix in (".png", ".jpg", ".webp"):
        picture(path)
    else:
        path.write_text(content, encoding="utf-8")


def lay_folder(folder: Path, lines: str) -> None:
    """What a block lists: names, and after some of them their text."""
    for name, _, content in (line.partition(" ") for line in lines.splitlines()):
        lay(folder / name, content.strip())


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with all that the guide shows."""
    root: Path = tmp_path_factory.mktemp("guide")
    blocks = list(FILE.finditer(GUIDE))
    assert len(blocks) >= 12
    for block in blocks:
        path = root / block["name"]
        if block["name"].endswith("/"):
            lay_folder(path, block["content"])
        elif path.suffix == ".tar":
            lay_folder(aside := root / "aside" / path.stem, block["content"])
            path.parent.mkdir(exist_ok=True)
            with tarfile.open(path, "w") as tar:
                for member in sorted(aside.iterdir()):
                    tar.add(member, member.name)
        else:
            lay(path, block["content"])
    before = Path.cwd()
    os.chdir(root)
    try:
        runpy.run_path("save.py")
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def working_directory(example: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(example)
    before = sorted(example.rglob("*"))
    yield example
    for new in {*example.rglob("*")} - {*before}:
        if new.is_file():
            new.unlink()


INSPECTIONS = [line for line in commands() if "aquatint inspect" in line and not any(mark in line for mark in NETWORK)]


def test_the_guide_has_what_is_tested_here() -> None:
    assert len(INSPECTIONS) >= 20
    assert {*SHOWN} <= {*INSPECTIONS}
    assert len([line for line in commands() if any(mark in line for mark in NETWORK)]) == 4
    assert [line for line in commands() if "aquatint inspect" not in line] == [
        "aquatint train photos trigger=zwx", "aquatint train data=mix.yaml trigger=zwx",
    ]  # fmt: skip


@pytest.mark.parametrize("line", INSPECTIONS)
def test_its_inspections_run(
    line: str, working_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert run(words[1:]) == 0
    shown = capsys.readouterr().out
    assert "error:" not in shown
    for part in SHOWN.get(line, []):
        assert part in shown, f"{part!r} is not in\n{shown}"
    if "AQUATINT_CACHE" in line:
        assert (working_directory / "elsewhere" / "looks.sqlite3").is_file()


@pytest.mark.usefixtures("working_directory")
def test_its_mix_can_be_trained_on(tiny_sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in commands() if "train data=mix.yaml" in line]
    quick = [f"base={tiny_sd}", f"out={tmp_path / 'run'}", "steps=2", "samples.every=0", "prior.num=0", "images.resolution=16"]
    run([*shlex.split(line)[1:], *quick])
    assert (tmp_path / "run" / "pytorch_lora_weights.safetensors").is_file()
    assert "finished" in capsys.readouterr().out


def test_every_finding_in_its_tables_is_one_of_the_code() -> None:
    """Piece by piece between what varies."""
    chapter = GUIDE.split("### Every finding")[1].split("## What is kept")[0]
    rows = [line.split(" | ")[0] if line.startswith("|") else line for line in chapter.splitlines()]
    quoted = [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row)]
    phrases = [phrase for phrase in quoted if " " in phrase and not phrase.startswith(("hf ", "git "))]
    known = "\n".join(texts_of_the_code())
    assert len(phrases) >= 100
    missing = [phrase for phrase in phrases for piece in pieces(phrase) if piece not in known]
    assert not missing


def pieces(phrase: str) -> list[str]:
    varied = re.sub(r"4 x 4|'zwx'", "…", phrase)
    return [piece for part in varied.split("…") if len(piece := part.strip(" (),:;")) > 2]


def texts_of_the_code() -> Iterator[str]:
    package = ROOT / "src" / "aquatint"
    for path in (*sorted((package / "data").rglob("*.py")), package / "commands" / "inspect.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
