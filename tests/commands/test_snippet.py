"""The snippet that a run prints, run by Python without aquatint, draws the picture that `aquatint generate` draws."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.cli import run
from aquatint.training.folder import RunFolder

BLOCKED = "import sys; sys.modules['aquatint'] = None\n"
"""Importing aquatint raises ImportError from here on."""


METHODS = [
    ["method=lora"],
    ["method=lora", "method.text_encoder=true", "method.alpha=4"],
    ["method=full"],
    ["method=pivotal", "trigger=zwx"],
]


@pytest.mark.parametrize("method", METHODS)
def test_snippet_draws_the_same(photos: Path, tiny_sd: Path, tmp_path: Path, method: list[str]) -> None:
    out = tmp_path / "run"
    run(["train", str(photos), f"base={tiny_sd}", "steps=3", "lr=1e-2", "samples.every=0", "resolution=16", f"out={out}", *method])
    prompt = RunFolder(out).read_facts()["sample_prompt"]
    assert "method=pivotal" not in method or "zwx" in prompt
    run(["generate", str(out), f"prompt={prompt}", f"out={tmp_path / 'ours'}", "cpu=true"])
    text = (out / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", BLOCKED + code], cwd=tmp_path, env=environment, check=True, timeout=300)
    theirs, ours = (np.asarray(Image.open(path), dtype=int) for path in (tmp_path / "result.png", tmp_path / "ours" / "42.png"))
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() == 0
