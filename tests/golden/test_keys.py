"""Names and shapes of all tensors in the saved files, and the names in their metadata (R4). WRITE_GOLDEN=1 writes them anew."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from aquatint.methods.base import Method
from aquatint.registry import families

FILE = Path(__file__).with_name("keys.json")
VARIANTS = {
    "sd/lora": {"kind": "lora", "rank": 4},
    "sd/lora, all parts": {"kind": "lora", "rank": 4, "alpha": 2, "convolutions": True, "text_encoder": True},
    "sd/full": {"kind": "full"},
}


def content(saved: Path) -> dict[str, object]:
    """Without the text encoder of a whole model: its names are those of the installed transformers."""
    files = [saved] if saved.is_file() else sorted(p for p in saved.rglob("*.safetensors") if p.parent.name != "text_encoder")
    tensors = {f"{file.parent.name + ':' if saved.is_dir() else ''}{n}": [*t.shape] for file in files for n, t in load_file(file).items()}
    if saved.is_dir():
        return {"tensors": tensors, "files": sorted(p.relative_to(saved).as_posix() for p in saved.rglob("*") if p.is_file())}
    with safe_open(saved, "pt") as file:
        adapter = json.loads(file.metadata()["lora_adapter_metadata"])
        ranks = {name: value for name, value in adapter.items() if name.endswith((".r", ".lora_alpha"))}
        return {"tensors": tensors, "metadata": sorted(file.metadata()), "ranks": ranks}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_saved_names_and_shapes_are_the_golden_ones(name, tmp_path):
    torch.manual_seed(1)
    family = families[name.partition("/")[0]]
    bundle, method = family.tiny(), Method.resolve(VARIANTS[name])
    method.attach(bundle, family)
    found, golden = content(method.save(bundle, tmp_path, facts={})), json.loads(FILE.read_text()) if FILE.exists() else {}
    if "WRITE_GOLDEN" in os.environ:
        FILE.write_text(json.dumps({**golden, name: found}, indent=1) + "\n")
        pytest.skip("written")
    assert len(found["tensors"]) >= 40
    assert found == golden[name]
