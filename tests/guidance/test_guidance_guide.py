"""docs/guidance.md is true: its commands run one after another on the built-in model, and its table is the code."""

import json
import re
import shlex
import sys
from pathlib import Path

import torch

from aquatint.cli import run
from aquatint.guidance.base import Guidance
from aquatint.registry import guidances

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guidance.md").read_text(encoding="utf-8")
OWN = (DOCS / "write-a-guidance.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"measurement"}
"""In a document of their own."""


def blocks(text: str, language: str) -> list[str]:
    return [block["text"] for block in BLOCK.finditer(text) if block["language"] == language]


def a_classifier(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    classes = {"id2label": {0: "owl", 1: "fox"}, "label2id": {"owl": 0, "fox": 1}}
    ViTForImageClassification(ViTConfig(**small, **classes, image_size=16, patch_size=4)).save_pretrained(folder)
    shown = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(shown))


def test_its_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (yaml,) = blocks(GUIDE, "yaml")
    Path("owl.yaml").write_text(yaml, encoding="utf-8")
    Path("my_losses.py").write_text(blocks(OWN, "python")[0], encoding="utf-8")
    a_classifier(Path("my-classifier"))
    lines = [line for text in blocks(GUIDE, "sh") for line in text.splitlines()]
    assert len(lines) == 7
    for line in lines:
        assert run([*shlex.split(line)[1:], "steps=3", "cpu=true"]) == 0, line
    sys.modules.pop("my_losses", None)
    assert sorted(path.parent.name for path in Path().glob("*/42.png")) == ["both", "clip", "dark", "like", "owl", "seen", "teal"]


def test_its_table_names_every_guidance_and_setting():
    rows = re.findall(r"^\| `(\w+):[^|]*\|[^|]*\|([^|]*)\|$", GUIDE, re.MULTILINE)
    assert {kind for kind, _ in rows} == {*guidances.names()} - ELSEWHERE
    for kind, settings in rows:
        own = {*Guidance.named(kind).model_fields} - {"kind", "scale", "through", "units", "start", "stop", Guidance.named(kind).by}
        assert set(re.findall(r"`(\w+)`", settings)) == own, kind
