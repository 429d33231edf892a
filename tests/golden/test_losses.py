"""Five losses of each family, in each form, with each method, as they were when they were last looked at; float32 on the CPU.

A change of these numbers is a change of the mathematics. WRITE_GOLDEN=1 writes them anew.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from cases import CASES, family_of, resolved
from cases import MATRIX as PAIRS

from aquatint.core.weightings import MinSNR

FILE = Path(__file__).with_name("losses.json")
MATRIX = [f"{case}/{method}" for case, method in PAIRS]
NUM_STEPS = 5


@pytest.fixture
def curve(make_trainer, tmp_path):
    """ "case/method" -> its losses and its gradient norms."""

    def train(name):
        case, kind = name.split("/")
        torch.set_num_threads(1)
        torch.manual_seed(1)
        bundle = family_of(case).tiny(CASES[case][1])
        if bundle.objective.prediction != "flow_prediction":
            bundle.objective = bundle.objective.weighted_by(MinSNR(5.0))
        settings = {"rank": 4} if kind == "lora" else {}
        method = resolved(kind, **settings)
        how = {"batch_size": 2, "accumulate": 2, "lr": 3e-3, "caption_dropout": 0.2}
        trainer = make_trainer(bundle, bundle.family, method=method, folder=tmp_path, num_steps=NUM_STEPS, **how)
        steps = [event for event in trainer.run() if hasattr(event, "gradient_norm")]
        return {"loss": [event.loss for event in steps], "gradient_norm": [event.gradient_norm for event in steps]}

    return train


def test_every_pair_has_its_numbers_and_no_other():
    known = set() if "WRITE_GOLDEN" in os.environ else set(json.loads(FILE.read_text())) ^ set(MATRIX)
    assert not known, f"write the numbers of {known} with WRITE_GOLDEN=1 and look at them"
    assert len(MATRIX) >= 2


@pytest.mark.parametrize("name", MATRIX)
def test_five_losses_are_the_golden_ones(name, curve):
    found, golden = curve(name), json.loads(FILE.read_text()) if FILE.exists() else {}
    if "WRITE_GOLDEN" in os.environ:
        FILE.write_text(json.dumps({**golden, name: found}, indent=1) + "\n")
        pytest.skip("written")
    assert len(found["loss"]) == NUM_STEPS
    assert found["loss"] == pytest.approx(golden[name]["loss"], rel=1e-5)
    assert found["gradient_norm"] == pytest.approx(golden[name]["gradient_norm"], rel=1e-4)
