"""Frozen weights held in bfloat16 compute what autocast computes from float32, and the proof is asked of what was trained."""

import json
import shutil

import pytest
import torch
from cases import CASES, METHODS, family_of
from safetensors.torch import load_file
from torch import nn

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.core.rounding import held, hold, in_float32, opened, roundable
from aquatint.errors import BadSetting
from aquatint.evaluation import proof
from aquatint.methods._forms import FORMS
from aquatint.methods.base import Method
from aquatint.training.precision import format_of_frozen


@pytest.fixture
def rounded(tiny):
    """Case -> its miniature, held."""

    def make(case):
        bundle = tiny(case)
        hold(roundable(bundle.denoiser))
        return bundle

    return make


METHODS_HERE = [{"kind": name} for name in METHODS] + [{"variant": name} for name in FORMS] + [{"init": "pissa"}]
KEEPING = [how for how in METHODS_HERE if Method.resolve(how).keeps_base]


@pytest.fixture
def trained(tiny, rounded, make_trainer, tmp_path):
    """(case, settings, is_held=) -> bundle, losses in bf16, trained tensors."""

    def train(case, settings, *, is_held):
        bundle = (rounded if is_held else tiny)(case)
        kind = Method.named(settings.get("kind", "lora"))
        method = Method.resolve({**settings, **({"rank": 2} if "rank" in kind.model_fields else {})})
        with opened(bundle.denoiser):
            trainer = make_trainer(bundle, family_of(case), method=method, folder=tmp_path / str(is_held), num_steps=3, lr=1e-2)
        trainer.precision = torch.bfloat16
        return bundle, [event.loss for event in trainer.run() if hasattr(event, "gradient_norm")], dict(trainer.parameters)

    return train


@pytest.mark.parametrize(("case", "settings"), [*((case, {"kind": "lora"}) for case in CASES), *(("sd", how) for how in KEEPING)])
def test_a_run_in_bf16_is_the_same_to_the_bit(case, settings, trained):
    (bundle, ours, after), (_, theirs, expected) = (trained(case, settings, is_held=it) for it in (True, False))
    assert len(held(bundle.denoiser)) > 10
    assert ours == theirs
    assert all(torch.equal(after[name], expected[name]) and after[name].dtype == torch.float32 for name in expected)


def test_methods_that_ask_more_of_the_base_s_weights_say_so():
    assert {"kind": "full"} not in KEEPING
    assert {"variant": "dora"} not in KEEPING
    assert {"init": "pissa"} not in KEEPING
    assert len(KEEPING) >= 6


@pytest.mark.parametrize("case", CASES)
def test_only_large_frozen_weights_are_rounded(case, rounded):
    network = rounded(case).denoiser
    found = {name: p for name, p in network.named_parameters() if p.dtype == torch.bfloat16}
    assert all(name.endswith("weight") and p.ndim >= 2 for name, p in found.items())
    large = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert sum(p.numel() for p in found.values()) > 0.9 * sum(p.numel() for p in large if p is not next(network.parameters()))
    assert roundable(network.float().requires_grad_(True)) == []


@pytest.mark.parametrize("case", CASES)
def test_the_proof_is_asked_in_float32_of_rounded_weights(case, tiny, rounded):
    by_hand = tiny(case)
    for layer in roundable(by_hand.denoiser):
        layer.weight.data = layer.weight.data.bfloat16().float()
    bundle = rounded(case)
    ours, theirs, other = (proof.outputs(each, each.family, prompt=proof.question(each, None)) for each in (bundle, by_hand, tiny(case)))
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, other)
    assert len(held(bundle.denoiser)) == len(roundable(by_hand.denoiser)) > 10


def test_an_error_inside_leaves_the_weights_rounded(rounded):
    bundle = rounded("sd")
    num, layer = len(held(bundle.denoiser)), held(bundle.denoiser)[0]
    with in_float32(bundle.denoiser), pytest.raises(RuntimeError):
        layer(torch.zeros(1, 77, 77, 77))
    with in_float32(bundle.denoiser):
        assert len(held(bundle.denoiser)) == num  # one layer at a time
    assert len(held(bundle.denoiser)) == num


@pytest.fixture(scope="module")
def settings(photos, tiny_sd):
    how = ["resolution=16", "method.rank=2", "steps=4", "batch_size=2", "lr=1e-2", "prior.num=0", "samples.every=0", "validation.every=0"]
    return ["train", f"data={photos}", f"base={tiny_sd}", "precision=bf16", "cpu=true", *how, "checkpoints.every=1", "checkpoints.keep=4"]


def test_a_run_in_bf16_holds_its_base_so_and_is_proven(settings, tmp_path):
    run([*settings, f"out={tmp_path / 'held'}"])
    run([*settings, f"out={tmp_path / 'plain'}", "frozen=fp32"])
    assert "frozen: bf16" in (tmp_path / "held" / "config.yaml").read_text()
    facts = json.loads((tmp_path / "held" / "facts.json").read_text())
    assert facts["proof"]["largest_difference"] < 1e-5 < facts["proof"]["changed_by"]
    ours, theirs = (load_file(tmp_path / place / "pytorch_lora_weights.safetensors") for place in ("held", "plain"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for path in [*(tmp_path / "held" / "checkpoints").glob("step_*[34]")]:
        shutil.rmtree(path)
    (tmp_path / "held" / "facts.json").unlink()
    run(["resume", str(tmp_path / "held")])
    assert list((tmp_path / "held" / "checkpoints").glob("step_*4"))
    again = load_file(tmp_path / "held" / "pytorch_lora_weights.safetensors")
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


def test_the_format_follows_the_forward_pass():
    fp32, bf16 = torch.float32, torch.bfloat16
    auto = [format_of_frozen("auto", precision, keeps_base=keeps) for precision in (fp32, bf16) for keeps in (False, True)]
    assert auto == ["fp32", "fp32", "fp32", "bf16"]
    with pytest.raises(BadSetting, match="precision=auto did not choose"):
        format_of_frozen("bf16", fp32, keeps_base=True)


@pytest.mark.parametrize(
    ("how", "why"),
    [(["method=full"], "needs the base's own weights to the last bit"), (["precision=fp32"], "need a forward pass in bf16")],
)
def test_a_format_without_effect_is_refused(how, why, photos, tiny_sd, tmp_path):
    with pytest.raises(SettingsError, match=why):
        run(["train", f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", "frozen=bf16", *how])
