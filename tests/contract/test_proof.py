"""The proof accepts the right file and refuses a wrong one (R47)."""

import pytest
from safetensors.torch import load_file, save_file

from aquatint.errors import Unproven
from aquatint.evaluation import proof
from aquatint.methods.lora import LoRA
from aquatint.registry import families

SD = families["sd"]


@pytest.fixture
def case(tiny, make_trainer, answers, tmp_path):
    """A written file and what is known when it is proven."""
    bundle, method = tiny("sd"), LoRA(rank=4)
    list(make_trainer(bundle, SD, method=method, folder=tmp_path / "states", num_steps=2, lr=1e-2).run())
    file = method.save(bundle, tmp_path, facts={})
    known = {"family": SD, "method": method, "base": answers(tiny("sd"), "sd"), "trained": answers(bundle, "sd")}
    known["prompt"] = "a photo of disc"
    return file, known


def rewrite(file, change):
    save_file({name: change(name, tensor) for name, tensor in load_file(file).items()}, file)


def test_the_right_file_is_proven(case, tiny):
    file, known = case
    found = proof.prove(file, fresh=tiny("sd"), **known)
    assert found.largest_difference < 1e-5 < 1e-3 < found.changed_by
    assert "stock diffusers" in found.sentence()


def test_a_wrong_scale_is_seen(case, tiny):
    file, known = case
    rewrite(file, lambda name, tensor: tensor * 1.1 if ".lora_B." in name else tensor)
    with pytest.raises(Unproven, match="differs from the trained model by"):
        proof.prove(file, fresh=tiny("sd"), **known)


def test_a_file_without_effect_is_seen(case, tiny):
    file, known = case
    rewrite(file, lambda name, tensor: tensor * 0)
    with pytest.raises(Unproven, match="changes nothing"):
        proof.prove(file, fresh=tiny("sd"), **{**known, "trained": known["base"]})
