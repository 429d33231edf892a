"""docs/mixing.md is true: its commands and its Python run, one after another, on two short runs of the built-in model."""

import re
import shlex
from importlib.resources import files
from pathlib import Path

from aquatint.cli import run

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "mixing.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = ["steps=1", "samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0", "prior.num=0", "batch_size=2"]


def test_its_commands_and_its_python_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures = files("aquatint") / "models" / "demo"
    assert run(["train", str(pictures / "subject"), "trigger=zwx", "method=pivotal", "out=subject", *QUICK]) == 0
    how = ["images.allow_missing_captions=true", "images.template={trigger}"]
    assert run(["train", str(pictures / "style"), "trigger=vyk", "out=ink", *how, *QUICK]) == 0
    capsys.readouterr()
    blocks = [(block["language"], block["lines"]) for block in BLOCK.finditer(GUIDE)]
    lines = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    assert len(lines) == 5
    for line in lines:
        assert run([*shlex.split(line)[1:], "steps=2", "cpu=true"]) == 0, line
    assert len([*Path("sweep").glob("*.png")]) == 16 + 1
    assert "change the same by" in capsys.readouterr().out
    (program,) = [text for language, text in blocks if language == "python"]
    variables: dict[str, object] = {}
    exec(program, variables)
    assert variables["picture"].size == (64, 64)  # type: ignore[attr-defined]
