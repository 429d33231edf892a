"""docs/generate.md is true: its commands and its Python run, one after another, on the built-in model."""

import re
import shlex
from pathlib import Path

from PIL import Image, ImageDraw

from aquatint.cli import run

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "generate.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)


def test_its_commands_and_its_python_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a fox\nan {owl|elephant} on a beach\n", encoding="utf-8")
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).ellipse((8, 8, 56, 56), fill=255)
    mask.save("mask.png")
    blocks = [(block["language"], block["lines"]) for block in BLOCK.finditer(GUIDE)]
    lines = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    assert len(lines) == 11
    for line in lines:
        arguments = [word for word in shlex.split(line)[1:] if not word.startswith("steps=")]
        assert run([*arguments, "steps=5", "cpu=true"]) == 0, line
    assert len([*Path("grid").glob("*.png")]) == 9 + 1
    assert len([*Path("many").glob("*.png")]) == 6 + 1
    (program,) = [text for language, text in blocks if language == "python"]
    variables: dict[str, object] = {}
    exec(program, variables)
    assert len(variables["pictures"]) == 4  # type: ignore[arg-type]
    assert capsys.readouterr().out.endswith("5 False (64, 64)\n10 True (64, 64)\n")
