"""Learning itself: fine-tuning the built-in model on five pictures teaches it what they show, by the demo's own recipe."""

from pathlib import Path

import pytest
import torch

from aquatint.commands import train
from aquatint.commands.demo import RECIPE
from aquatint.core.family import Bundle
from aquatint.evaluation.demonstration import Subject
from aquatint.evaluation.world import World, embedded
from aquatint.registry import families
from aquatint.training.events import Stepped
from aquatint.training.folder import RunFolder
from aquatint.training.precision import is_bf16_fast
from aquatint.training.settings import Train

PICTURES = Path(__file__).parents[2] / "src" / "aquatint" / "models" / "demo" / "subject"


@pytest.fixture(scope="module")
def world() -> World:
    return embedded()


@pytest.fixture(scope="module")
def measured(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], dict[str, float]]:
    """Means of every measure, before and after."""
    torch.set_num_threads(2)
    precision = torch.bfloat16 if is_bf16_fast(torch.device("cpu")) else torch.float32
    proof = Subject(world, "peacock", "zwx", PICTURES, precision)
    base: Bundle = families["sd"].load("pocket").freeze()
    before = proof.measure(base)
    out = tmp_path_factory.mktemp("learning") / "run"
    recipe = [*RECIPE, "samples.every=0", "validation.every=0"]
    config = Train.read([f"data={PICTURES}", f"out={out}", *recipe])
    losses = [event.loss for event in train.run(config) if isinstance(event, Stepped)]
    assert sum(losses[-20:]) < sum(losses[:20])
    config.method.load(base, out / RunFolder(out).read_facts()["file"])
    after = proof.measure(base)
    torch.set_num_threads(1)
    return tuple({name: sum(values) / len(values) for name, values in group.items()} for group in (before, after))  # type: ignore[return-value]


def test_the_subject_is_learned(measured: tuple[dict[str, float], dict[str, float]]) -> None:
    before, after = measured
    assert before["learned"] <= 0.05
    assert after["learned"] >= 0.60
    assert after["CLIP-image"] > before["CLIP-image"]


def test_places_are_kept_apart_from_the_subject(measured: tuple[dict[str, float], dict[str, float]]) -> None:
    assert measured[1]["context"] >= 0.85


def test_other_things_are_not_forgotten(measured: tuple[dict[str, float], dict[str, float]]) -> None:
    assert measured[0]["kept"] >= 0.80
    assert measured[1]["kept"] >= measured[0]["kept"] - 0.10  # 64 pictures: the mean's own error is 3 points


def test_the_subject_was_held_out(world: World) -> None:
    assert "peacock" in world.held_out
    assert not set(world.held_out) & set(world.trained)
    assert len(world.held_out) >= 30
