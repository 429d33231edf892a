"""Where a base may come from, all without a network: a folder, a Hub id in the cache, a single file; and what is refused (R59, R60)."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from original_names import as_single_file
from safetensors.torch import load_file, save_file

from aquatint.core.fingerprint import fingerprint
from aquatint.errors import BadBase
from aquatint.families import _sources, sd

CONFIG_OF_V1 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""Where diffusers looks for the settings of a single file of this architecture."""


@pytest.fixture
def base(tiny_sd, tmp_path) -> Path:
    """A copy of the miniature, to be spoiled."""
    return shutil.copytree(tiny_sd, tmp_path / "base")


def prints(bundle):
    return [fingerprint(module) for module in bundle.modules]


def test_a_folder_loads_in_float32_with_its_own_objective(tiny_sd, tmp_path):
    bundle = sd.load(tiny_sd)
    assert {p.dtype for module in bundle.modules for p in module.parameters()} == {torch.float32}
    assert (bundle.objective.prediction, bundle.objective.process.num_steps, bundle.resolution_px) == ("epsilon", 1000, 16)
    velocity = shutil.copytree(tiny_sd, tmp_path / "velocity")
    settings = velocity / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}))
    found = sd.load(str(velocity)).objective
    assert found.prediction == "v_prediction"
    assert found.process.alpha(torch.ones(1)) < 1e-3


def test_weights_stored_in_half_precision_become_float32(base):
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file)
    assert {p.dtype for p in sd.load(base).denoiser.parameters()} == {torch.float32}


def test_a_hub_id_in_the_cache_loads_without_a_network(tiny_sd, on_hub):
    assert prints(sd.load(on_hub(tiny_sd, "somebody/tiny-sd"))) == prints(sd.load(tiny_sd))


def test_a_single_file_loads(tiny_sd, on_hub, tmp_path):
    file = tmp_path / "tiny.safetensors"
    save_file(as_single_file(tiny_sd), file)
    on_hub(tiny_sd, CONFIG_OF_V1)
    assert prints(sd.load(file)) == prints(sd.load(tiny_sd))


class Bomb:
    """Its pickle writes a file when it is opened without care."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "model"])
def test_a_pickle_is_refused_unopened(name, tmp_path):
    torch.save({"state_dict": Bomb(tmp_path / "trace")}, tmp_path / name)
    with pytest.raises(BadBase, match=r"only \.safetensors files are opened"):
        sd.load(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_a_pickle_in_disguise_is_refused_unexecuted(base, tmp_path):
    trace, file = tmp_path / "trace", tmp_path / "model.safetensors"
    torch.save({"state_dict": Bomb(trace)}, file)
    with pytest.raises(BadBase, match=re.escape(f"base={file}: ")):
        sd.load(file)
    part = base / "unet"
    (part / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Bomb(trace)}, part / "diffusion_pytorch_model.bin")
    with pytest.raises(BadBase, match=re.escape(f"base={base}: ")):
        sd.load(base)
    assert not trace.exists()
    torch.load(part / "diffusion_pytorch_model.bin", weights_only=False)
    assert trace.exists()  # the bomb was live


def spoil_index(base):
    (base / "model_index.json").write_text("{")


def lose_index(base):
    (base / "model_index.json").unlink()


def lose_weights(base):
    (base / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def lose_tokenizer(base):
    shutil.rmtree(base / "tokenizer")


def lose_network(base):
    shutil.rmtree(base / "vae")


def cut_weights(base):
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:20000])


def rename_class(base):
    file = base / "model_index.json"
    file.write_text(file.read_text().replace("StableDiffusionPipeline", "StableDiffusionXLPipeline"))


def predict_otherwise(base):
    file = base / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace('"epsilon"', '"something"'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_index, "its model_index.json cannot be read"),
        (lose_index, "this folder is no diffusers model"),
        (lose_weights, "diffusion_pytorch_model"),
        (lose_tokenizer, "model_index.json names tokenizer, and there is no such folder"),
        (lose_network, "model_index.json names vae, and there is no such folder"),
        (cut_weights, "diffusion_pytorch_model"),
        (rename_class, "this is a StableDiffusionXLPipeline, and a StableDiffusionPipeline was asked for"),
        (predict_otherwise, "'something' is not one of epsilon, sample"),
    ],
)
def test_a_spoiled_folder_is_refused_with_its_reason(spoil, message, base):
    spoil(base)
    with pytest.raises(BadBase, match=message):
        sd.load(base)


def test_a_model_of_another_class_is_refused_in_the_hub_s_cache_too(base, on_hub):
    rename_class(base)
    with pytest.raises(BadBase, match="this is a StableDiffusionXLPipeline"):
        sd.load(on_hub(base, "somebody/tiny-xl"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", "no such folder or file"),
        ("nowhere", "no such folder or file, and a Hub id has the form owner/name"),
        ("pockett", "did you mean 'pocket'"),
        ("a/b/c", "no such folder or file"),
        ("nobody/nothing-such", "nobody/nothing-such"),
    ],
)
def test_what_is_missing_is_named(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadBase, match=message):
        sd.load(source)


def test_an_adapter_is_no_base(tmp_path, tiny_sd, on_hub):
    on_hub(tiny_sd, CONFIG_OF_V1)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({"unet.mid_block.attentions.0.lora_A.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(BadBase, match=re.escape(str(file))):
        sd.load(file)


def test_a_place_keeps_its_meaning_from_another_working_directory(base, monkeypatch):
    monkeypatch.chdir(base.parent)
    assert _sources.lasting("base") == str(base)
    assert _sources.lasting("somebody/tiny-sd") == "somebody/tiny-sd"
    (base.parent / "pocket").mkdir()
    assert _sources.lasting("pocket") == "pocket"  # the built-in one
