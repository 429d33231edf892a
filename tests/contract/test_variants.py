"""Every form of low-rank adaptation: what its layers compute, that its file gives it back, that a resume is exact."""

import copy
import json
from types import SimpleNamespace

import peft
import pytest
import torch
from peft import inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aquatint.errors import BadSetting
from aquatint.families import _sources
from aquatint.methods.lora import FILE, FOLDER, LoRA
from aquatint.registry import families
from aquatint.training import checkpoint

SD = families["sd"]
PLACES = {"ranks": {"mid_block": 8, "encoder.layers.1": 2}}
CASES = {
    "dora": {"variant": "dora", "rank": 4, "convolutions": True, "alpha": 2.0, "dropout": 0.2},
    "rank-stabilised": {"rank": 4, "rank_stabilised": True, "alpha": 3.0, "dropout": 0.2, **PLACES},
    "pissa": {"rank": 4, "init": "pissa", "convolutions": True, "rank_stabilised": True, **PLACES},
    "pissa and dora": {"rank": 4, "init": "pissa", "variant": "dora", "alpha": 2.0},
    "loha": {"variant": "loha", "rank": 4, "alpha": 8.0, "convolutions": True, "dropout": 0.2, **PLACES},
    "lokr": {"variant": "lokr", "rank": 2, "alpha": 4.0, "convolutions": True, "dropout": 0.2, **PLACES},
    "oft": {"variant": "oft", "rank": 8, "targets": ("to_q", "to_k", "to_v", "to_out.0", "proj_in")},
    "ranks": {"rank": 4, "alpha": 2.0, "plus_ratio": 8.0, "rates": {"attn2": 0.5}, "convolutions": True, **PLACES},
}
IN_FILE = [name for name in CASES if name not in ("loha", "lokr", "oft")]
NUM_STEPS = 3


@pytest.fixture(scope="session")
def taught(tiny, make_trainer, tmp_path_factory):
    """Name of a case -> its method, the miniature after three steps, the file, and the folder of all checkpoints."""
    known = {}

    def teach(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("variants")
            method, bundle = LoRA(**CASES[name], text_encoder=True), tiny("sd")
            trainer = _trainer(make_trainer, bundle, method=method, folder=folder / "states")
            list(trainer.run())
            saved = method.save(bundle, folder / "run", facts={"modelspec.trigger_phrase": "zwx"})
            known[name] = SimpleNamespace(method=method, bundle=bundle, trainer=trainer, saved=saved, states=folder / "states")
        return known[name]

    return teach


def _trainer(make_trainer, bundle, *, method, folder):
    trainer = make_trainer(bundle, SD, method=method, folder=folder, num_steps=NUM_STEPS, lr=1e-2, ema=0.5)
    trainer.save_every, trainer.keep_checkpoints = 1, NUM_STEPS
    return trainer


def parts(bundle):
    return {"unet": bundle.denoiser, "text_encoder": bundle.text_encoders[0]}


def encoded(bundle, prompt="a disc"):
    with torch.no_grad():
        return SD.encode_prompts(bundle, [prompt])["prompt_embeds"]


@pytest.mark.parametrize("name", CASES)
def test_the_stock_loader_gives_back_what_was_trained(name, taught, tiny, answers, stock):
    run = taught(name)
    pipe = stock(run.method, "sd", saved=run.saved)
    trained, base = answers(run.bundle, "sd"), answers(tiny("sd"), "sd")
    torch.testing.assert_close(answers(run.bundle, "sd", pipe=pipe), trained, rtol=1e-5, atol=1e-5)
    assert (trained - base).abs().max() > 1e-3
    fresh = tiny("sd")
    run.method.load(fresh, run.saved)
    assert torch.equal(answers(fresh, "sd"), answers(run.bundle, "sd", pipe=pipe))
    assert (encoded(fresh) - encoded(tiny("sd"))).abs().max() > 1e-4
    torch.testing.assert_close(encoded(fresh), encoded(run.bundle.freeze()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_is_bit_equal(name, taught, tiny, make_trainer, tmp_path):
    run = taught(name)
    resumed = _trainer(make_trainer, tiny("sd"), method=run.method, folder=tmp_path)
    resumed.restore(checkpoint.load(checkpoint.directory(run.states, 1)))
    list(resumed.run())
    kept, again = (checkpoint.load(checkpoint.directory(place, NUM_STEPS)) for place in (run.states, tmp_path))
    for part in checkpoint.PARTS:
        ours, theirs = getattr(kept, part), getattr(again, part)
        assert ours.keys() == theirs.keys()
        assert len(ours) >= len(run.trainer.parameters) > 20
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), part


@pytest.mark.parametrize("name", CASES)
def test_what_is_foretold_is_what_is_trained_and_written(name, taught, base_folder):
    run = taught(name)
    shapes = _sources.shapes(str(base_folder("sd")))
    assert run.method.num_trained(shapes, SD) == sum(p.numel() for p in run.trainer.parameters.values())
    files = [file for file in run.method.files(run.saved) if file.suffix == ".safetensors"]
    assert run.method.num_written(shapes, SD) == sum(t.numel() for file in files for t in load_file(file).values())


@pytest.mark.parametrize("name", IN_FILE)
def test_tensors_alone_are_the_whole_update(name, taught, answers, stock, tmp_path):
    """Without metadata a loader takes every scale for 1, and the ranks from the shapes."""
    run = taught(name)
    save_file(load_file(run.saved), tmp_path / FILE)
    pipe = stock(LoRA(), "sd", saved=tmp_path / FILE)
    torch.testing.assert_close(answers(run.bundle, "sd", pipe=pipe), answers(run.bundle, "sd"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["loha", "lokr", "oft"])
def test_the_folder_is_one_of_pefts(name, taught, tiny, answers):
    """Read by hand: settings by PEFT's own class, tensors by their names without PEFT's prefix."""
    run, fresh = taught(name), tiny("sd")
    assert run.saved.name == FOLDER
    assert "zwx" in (run.saved / "aquatint.json").read_text()
    assert sorted(path.name for path in run.saved.iterdir()) == ["aquatint.json", "text_encoder", "unet"]
    for place, module in parts(fresh).items():
        config = peft.PeftConfig.from_pretrained(str(run.saved / place))
        assert config.peft_type.value == name.upper()
        inject_adapter_in_model(config, module)
        tensors = load_file(run.saved / place / "adapter_model.safetensors")
        stripped = {key.removeprefix("base_model.model."): tensor for key, tensor in tensors.items()}
        assert not set_peft_model_state_dict(module, stripped).unexpected_keys
    assert torch.equal(answers(fresh, "sd"), answers(run.bundle, "sd"))


def test_a_folder_with_a_number_that_is_not_finite_is_not_written(tiny, tmp_path):
    bundle, method = tiny("sd"), LoRA(variant="lokr", rank=2)
    next(iter(method.attach(bundle, SD).values())).data.view(-1)[0] = torch.inf
    with pytest.raises(FloatingPointError, match="1 tensors are not finite, first unet"):
        method.save(bundle, tmp_path / "run", facts={})
    assert not list(tmp_path.rglob("*"))
