"""`export=kohya`: a run writes the form for other programs too, and a stock pipeline that loads it draws the same."""

import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from aquatint.commands import check
from aquatint.commands.train import run
from aquatint.config import SettingsError
from aquatint.errors import Unproven
from aquatint.export import comfy, kohya
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.architectures import ARCHITECTURES
from aquatint.export.diffusers_lora import write_adapter
from aquatint.export.opening import header
from aquatint.export.reading import read
from aquatint.training.exports import _read_back, write_kohya
from aquatint.training.settings import Train

QUICK = ["steps=2", "samples.every=0", "prior.num=0", "images.resolution=16", "samples.num_steps=1", "checkpoints.every=0", "cpu=true"]


def train(photos, *more, base, out):
    return list(run(Train.read([str(photos), f"base={base}", f"out={out}", "trigger=zwx", "export=kohya", *QUICK, *more])))


def magnitudes(tensors):
    return sorted(t.flatten().tolist() for name, t in tensors.items() if "magnitude" in name or "dora_scale" in name)


def answer(pipeline):
    tokens = pipeline.tokenizer(["a zwx"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        told = pipeline.text_encoder(tokens)[0]
        return pipeline.unet(torch.ones(1, 4, 8, 8), torch.tensor([5]), encoder_hidden_states=told)[0]


def test_a_run_writes_kohyas_form_which_stock_diffusers_loads_as_the_same(photos, tiny_sd, tmp_path):
    out = tmp_path / "run"
    settings = ("method.rank=4", "method.alpha=2", "method.text_encoder=true", "method.convolutions=true", "lr=0.01")
    train(photos, *settings, base=tiny_sd, out=out)
    ours, theirs = out / "pytorch_lora_weights.safetensors", out / "pytorch_lora_weights_kohya.safetensors"
    answers = []
    for file in (None, ours, theirs):
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
        if file:
            pipeline.load_lora_weights(out, weight_name=file.name)
        answers.append(answer(pipeline))
    torch.testing.assert_close(answers[2], answers[1], rtol=1e-5, atol=1e-5)
    assert (answers[1] - answers[0]).abs().max() > 1e-3
    assert read(ours).layers.keys() == read(theirs).layers.keys()
    with safe_open(theirs, "pt") as opened:
        said = opened.metadata()
    wanted = {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.trigger_phrase": "zwx",
              "ss_network_module": "networks.lora", "modelspec.title": "run", "modelspec.resolution": "16x16", "ss_steps": "2"}  # fmt: skip
    assert {name: said[name] for name in wanted} == wanted
    assert "pytorch_lora_weights_kohya.safetensors" in (out / "README.md").read_text()
    told = "\n".join(check.run(check.Check(file=out, base=str(tiny_sd))))
    assert "LoRA for Stable Diffusion 1 (family=sd), in diffusers names" in told
    assert "base      all" in told


def test_a_file_that_does_something_else_fails_the_run_and_leaves_the_result(photos, tiny_sd, tmp_path, monkeypatch):
    """The converter is made to lose half of the strength."""
    honest = kohya.spelled

    def weak(adapter, **kw):
        return {name: tensor * (0.5 if "lora_up" in name else 1) for name, tensor in honest(adapter, **kw).items()}

    monkeypatch.setattr(kohya, "spelled", weak)
    with pytest.raises(Unproven, match=r"pytorch_lora_weights_kohya\.safetensors, loaded again, differs"):
        train(photos, "method.rank=2", "lr=0.01", base=tiny_sd, out=tmp_path / "run")
    assert (tmp_path / "run" / "facts.json").is_file()
    assert (tmp_path / "run" / "README.md").is_file()


def test_what_is_read_back_otherwise_is_unproven(tmp_path):
    """As it is asked of transformers."""
    one = Adapter({"transformer.transformer_blocks.0.attn.to_q": Factors(torch.ones(1, 3072), torch.ones(3072, 1))}, "flux")
    two = Adapter({"transformer.transformer_blocks.0.attn.to_q": Factors(torch.ones(1, 3072), torch.ones(3072, 1) * 2)}, "flux")
    for name, adapter in (("one", one), ("two", two)):
        write_adapter(adapter, tmp_path / f"{name}.safetensors", facts={})
    kohya.write(one, tmp_path / "there.safetensors", facts={})
    _read_back(tmp_path / "one.safetensors", tmp_path / "there.safetensors")
    with pytest.raises(Unproven, match="is another adapter than"):
        _read_back(tmp_path / "two.safetensors", tmp_path / "there.safetensors")


def test_dora_is_read_back_since_diffusers_leaves_its_magnitudes_out_of_these_names(photos, tiny_sd, tmp_path):
    settings = ("method.variant=dora", "method.rank=2", "method.convolutions=true", "method.text_encoder=true", "lr=0.01")
    train(photos, *settings, base=tiny_sd, out=tmp_path / "run")
    ours = load_file(tmp_path / "run" / "pytorch_lora_weights.safetensors")
    theirs = load_file(tmp_path / "run" / "pytorch_lora_weights_kohya.safetensors")
    assert magnitudes(ours) == magnitudes(theirs) != []


def test_other_magnitudes_are_unproven(tmp_path):
    layer, length = "unet.mid_block.attentions.0.proj_in", torch.ones(4)
    for name, magnitude in (("one", length), ("two", length * 2), ("none", None)):
        made = Adapter({layer: Factors(torch.ones(1, 4), torch.ones(4, 1), None, magnitude)}, "sd1")
        write_adapter(made, tmp_path / f"{name}.safetensors", facts={})
    _read_back(tmp_path / "one.safetensors", tmp_path / "one.safetensors")
    for other in ("two", "none"):
        with pytest.raises(Unproven, match="is another adapter than"):
            _read_back(tmp_path / "one.safetensors", tmp_path / f"{other}.safetensors")


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_dora_of_a_transformer_is_refused_before_the_run(name, photos, tmp_path):
    pipeline = {"flux": "FluxPipeline", "sd3": "StableDiffusion3Pipeline"}[name]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    with pytest.raises(SettingsError, match=f"export: DoRA for family={name} has no form in kohya's names"):
        train(photos, "method.variant=dora", base=tmp_path / "model", out=tmp_path / "run")


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_the_form_for_a_transformer_is_read_back(name, miniature, adapter_for, tmp_path):
    saved = tmp_path / "pytorch_lora_weights.safetensors"
    facts = {"ss_base_model_version": ARCHITECTURES[name].base_version}
    write_adapter(adapter_for(name, miniature(name), rank=2), saved, facts=facts)
    out = write_kohya(SimpleNamespace(family=name), saved, bundle=SimpleNamespace(denoiser=miniature(name)), answers=None)
    assert out.name == "pytorch_lora_weights_kohya.safetensors"
    assert comfy.left_out(header(out).shapes, name) == []


def test_methods_without_an_adapter_are_refused_before_the_run(photos, tiny_sd, tmp_path):
    with pytest.raises(SettingsError, match="export: method=full writes no adapter"):
        train(photos, "method=full", base=tiny_sd, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
