"""Each way to teach a subject that the embedded model has never seen, by the bounds of the demo. Minutes each."""

from pathlib import Path

import pytest
import torch

from aquatint.commands import train
from aquatint.evaluation.demonstration import Subject
from aquatint.evaluation.world import embedded
from aquatint.families import sd
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Train

PICTURES = Path(__file__).parents[2] / "src" / "aquatint" / "models" / "demo" / "subject"
RECIPES = {
    "dreambooth-lora": ["prior.preserve=outputs", "prior.weight=2", "method.convolutions=true", "lr=2.5e-3"],
    "full": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("method", RECIPES)
def test_a_subject_is_learned_and_the_rest_is_kept(method: str, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    proof = Subject(embedded(), "peacock", "zwx", PICTURES, torch.bfloat16)
    base = sd.load("pocket").freeze()
    before = {name: sum(values) / len(values) for name, values in proof.measure(base).items()}
    quick = ["samples.every=0", "validation.every=0"]
    config = Train.read([f"data={PICTURES}", f"out={tmp_path / 'run'}", "trigger=zwx", f"method={method}", *RECIPES[method], *quick])
    list(train.run(config))
    config.method.load(base, tmp_path / "run" / RunFolder(tmp_path / "run").read_facts()["file"])
    after = {name: sum(values) / len(values) for name, values in proof.measure(base).items()}
    torch.set_num_threads(1)
    assert before["learned"] <= 0.05
    assert after["learned"] >= 0.60
    assert after["context"] >= 0.85
    assert after["kept"] >= before["kept"] - 0.05
