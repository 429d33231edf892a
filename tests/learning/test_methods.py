"""Each way to teach a subject that the embedded model has never seen, by the bounds of the demo. Minutes each."""

import importlib
from collections.abc import Sequence
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
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
RECIPES = {
    "dreambooth-lora": ["prior.preserve=outputs", "prior.weight=2", "method.convolutions=true", "lr=2.5e-3"],
    "full": [],
}


WORD_ALONE = ["method.initialiser=auto", "method.vectors=16", "method.context=2", "loss.weighting=even", "steps=600"]


@pytest.mark.slow
@pytest.mark.parametrize("method", RECIPES)
def test_a_subject_is_learned_and_the_rest_is_kept(method: str, tmp_path: Path) -> None:
    holds("peacock", PICTURES, settings=[f"method={method}", *RECIPES[method]], folder=tmp_path)


@pytest.mark.slow
def test_a_word_alone_learns_a_zebra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peacock, less like all that the model knows, it does not: docs/testing.md."""
    if not FONT.is_file():
        pytest.skip("the pictures are drawn by the Debian package fonts-noto-color-emoji")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "pocket"))
    subject = importlib.import_module("draw_demo").subject
    subject("zebra", tmp_path / "pictures")
    holds("zebra", tmp_path / "pictures", settings=["method=textual_inversion", *WORD_ALONE], folder=tmp_path)


def holds(thing: str, pictures: Path, *, settings: Sequence[str], folder: Path) -> None:
    torch.set_num_threads(2)
    proof = Subject(embedded(), thing, "zwx", pictures, torch.bfloat16)
    base = sd.load("pocket").freeze()
    before = {name: sum(values) / len(values) for name, values in proof.measure(base).items()}
    quick = ["samples.every=0", "validation.every=0"]
    config = Train.read([f"data={pictures}", f"out={folder / 'run'}", "trigger=zwx", *settings, *quick])
    list(train.run(config))
    config.method.load(base, folder / "run" / RunFolder(folder / "run").read_facts()["file"])
    after = {name: sum(values) / len(values) for name, values in proof.measure(base).items()}
    torch.set_num_threads(1)
    assert before["learned"] <= 0.05
    assert after["learned"] >= 0.60
    assert after["context"] >= 0.85
    assert after["kept"] >= before["kept"] - 0.05
