"""Real photographs, as a user would have them: inspect, train and generate without a hitch."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.cli import run

skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A cat, a cup of coffee, an astronaut: colours, grey, transparency, a palette, odd sizes, PNG and JPEG."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    cat, coffee, astronaut = (Image.fromarray(getattr(skimage_data, name)()) for name in ("cat", "coffee", "astronaut"))
    transparent = astronaut.crop((100, 0, 400, 300)).convert("RGBA")
    transparent.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 300).astype("uint8"), (300, 1))))
    saved = {
        "cat.jpg": cat, "cat close.png": cat.crop((50, 20, 350, 300)), "coffee.jpg": coffee.resize((401, 267)),
        "coffee grey.png": coffee.convert("L"), "astronaut.png": transparent, "astronaut palette.png": astronaut.convert("P"),
    }  # fmt: skip
    for name, picture in saved.items():
        picture.save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"a photo of {name.split()[0].split('.')[0]}", encoding="utf-8")
    return folder


def test_photographs_go_all_the_way(pictures: Path, tiny_sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["inspect", str(pictures), f"out={tmp_path / 'sheet.png'}", "resolution=32"]) == 0
    assert (tmp_path / "sheet.png").is_file()
    assert run(["train", str(pictures), f"base={tiny_sd}", "steps=4", "samples.num_steps=2", "resolution=32", f"out={out}"]) == 0
    for name in ("config.yaml", "pytorch_lora_weights.safetensors", "log.jsonl", "before_after.png", "report.html", "README.md"):
        assert (out / name).is_file(), name
    assert run(["generate", str(out), "prompt=a photo of cat", "num=2", "steps=2"]) == 0
    drawn = sorted((out / "pictures").glob("*.png"))
    assert [path.name for path in drawn] == ["42.png", "43.png"]
    assert Image.open(drawn[0]).text["prompt"] == "a photo of cat"  # type: ignore[attr-defined]
    assert "proven" in capsys.readouterr().out
