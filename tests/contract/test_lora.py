"""The LoRA file: its scale, its keys, its metadata, and what is refused."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aquatint.errors import BadSetting
from aquatint.methods.lora import LoRA
from aquatint.registry import families

SD = families["sd"]


@pytest.fixture
def saved(tiny, make_trainer, tmp_path):
    """(settings) -> (bundle after two steps, its file)."""

    def make(**settings):
        bundle, method = tiny("sd"), LoRA(**settings)
        list(make_trainer(bundle, SD, method=method, folder=tmp_path / "states", num_steps=2, lr=1e-2).run())
        return bundle, method.save(bundle, tmp_path / "run", facts={})

    return make


def by_hand(tiny, file):
    """The miniature with W + B A written into its weights, as a program does that knows nothing of alpha."""
    bundle, tensors = tiny("sd"), load_file(file)
    parts = {"unet": bundle.denoiser, "text_encoder": bundle.text_encoders[0]}
    for name, a in tensors.items():
        if ".lora_A." in name:
            part, _, layer = name.removesuffix(".lora_A.weight").partition(".")
            weight = parts[part].get_submodule(layer.removeprefix("text_model.")).weight
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            weight.data += (b.flatten(1) @ a.flatten(1)).view(weight.shape)
    return bundle


@pytest.mark.parametrize("alpha", [None, 1.0, 4.0, 32.0])
def test_the_scale_is_right_also_for_a_loader_that_ignores_alpha(alpha, saved, tiny, answers, stock, tmp_path):
    bundle, file = saved(rank=4, alpha=alpha, text_encoder=True)
    trained = answers(bundle, "sd")
    assert (trained - answers(tiny("sd"), "sd")).abs().max() > 1e-3
    torch.testing.assert_close(answers(by_hand(tiny, file), "sd"), trained, rtol=1e-4, atol=1e-4)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(file), bare)  # the same tensors without metadata
    for path in (file, bare):
        pipe = stock(LoRA(), "sd", saved=path)
        torch.testing.assert_close(answers(bundle, "sd", pipe=pipe), trained, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(0.0, "base"), (1.0, "trained")])
def test_scale_0_is_the_base_and_1_the_trained_model(scale, expected, saved, tiny, answers, stock):
    bundle, file = saved(rank=4, alpha=2.0)
    pipe = stock(LoRA(), "sd", saved=file)
    pipe.set_adapters(pipe.get_active_adapters(), scale)
    wanted = answers(tiny("sd") if expected == "base" else bundle, "sd")
    torch.testing.assert_close(answers(bundle, "sd", pipe=pipe), wanted, rtol=1e-5, atol=1e-5)


def test_half_the_scale_is_half_the_update(saved, tiny, answers, stock, tmp_path):
    bundle, file = saved(rank=4, alpha=2.0)
    halved = {name: tensor * (0.5 if ".lora_B." in name else 1.0) for name, tensor in load_file(file).items()}
    save_file(halved, tmp_path / "half.safetensors")
    pipe = stock(LoRA(), "sd", saved=file)
    pipe.set_adapters(pipe.get_active_adapters(), 0.5)
    half = answers(by_hand(tiny, tmp_path / "half.safetensors"), "sd")
    torch.testing.assert_close(answers(bundle, "sd", pipe=pipe), half, rtol=1e-4, atol=1e-4)


def test_the_metadata_name_rank_and_alpha(saved):
    _, file = saved(rank=4, alpha=2.0)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    adapter = json.loads(metadata["lora_adapter_metadata"])
    assert (metadata["format"], metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("pt", "4", "4")  # B holds the scale
    assert metadata["aquatint.alpha"] == "2.0"
    assert (adapter["unet.r"], adapter["unet.lora_alpha"]) == (4, 4)  # as folded into the tensors
    assert sorted(adapter["unet.target_modules"]) == sorted(SD.lora_targets)


def test_a_frozen_text_encoder_leaves_no_keys_and_a_trained_one_the_names_that_all_programs_know(saved):
    _, file = saved(rank=2)
    assert {name.partition(".")[0] for name in load_file(file)} == {"unet"}
    _, file = saved(rank=2, text_encoder=True)
    names = [name for name in load_file(file) if name.startswith("text_encoder.")]
    assert len(names) == 2 * 2 * len(SD.text_targets)
    assert all(name.startswith("text_encoder.text_model.encoder.layers.") for name in names)


def test_convolutions_are_added_on_request(saved, tiny, answers, stock):
    _, file = saved(rank=2)
    assert not any(".conv" in name for name in load_file(file))
    bundle, file = saved(rank=2, convolutions=True)
    tensors = load_file(file)
    kinds = {name.split(".")[-3] for name in tensors}
    assert {"conv1", "conv2", "conv_shortcut", "proj_in", "proj_out", "to_q"} <= kinds
    assert {tensor.ndim for name, tensor in tensors.items() if ".conv1.lora_A." in name} == {4}
    pipe = stock(LoRA(), "sd", saved=file)
    torch.testing.assert_close(answers(bundle, "sd", pipe=pipe), answers(bundle, "sd"), rtol=1e-5, atol=1e-5)


def test_chosen_targets_are_adapted_and_no_others(tiny):
    parameters = LoRA(rank=2, targets=("to_k", "attentions.0.proj_in")).attach(tiny("sd"), SD)
    layers = {name.partition(".lora_")[0] for name in parameters}
    assert layers
    assert all(name.endswith((".to_k", ".attentions.0.proj_in")) for name in layers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("to_q", "nothing_such")}, "method.targets: no layer of UNet2DConditionModel is named nothing_such"),
        ({"targets": ("norm1",)}, "only linear layers and convolutions can be adapted, and .*norm1 is a "),
        ({"rank": 33}, r"method.rank=33: \d+ layers of UNet2DConditionModel are smaller, first .*to_k; choose at most 32"),
        ({"rank": 64, "text_encoder": True, "targets": ("conv2",)}, r"CLIPTextModel are smaller, first .*k_proj; choose at most 32"),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_name(settings, message, tiny):
    bundle = tiny("sd")
    with pytest.raises(BadSetting, match=message):
        LoRA(**settings).attach(bundle, SD)
    assert not any(p.requires_grad for module in bundle.modules for p in module.parameters())


def test_all_problems_are_told_at_once(tiny):
    with pytest.raises(BadSetting) as caught:
        LoRA(rank=64, targets=("nothing_such", "to_k"), text_encoder=True).attach(tiny("sd"), SD)
    assert len(str(caught.value).splitlines()) == 3


def test_the_full_rank_of_a_layer_is_allowed(tiny):
    assert LoRA(rank=32).attach(tiny("sd"), SD)


def test_convolutions_of_a_model_that_lacks_some_are_no_mistake_of_the_user(tiny):
    assert LoRA(rank=2, targets=("to_q",), convolutions=True).attach(tiny("sd"), SD)
