"""Our files in diffusers' own loaders: no key is missing or left over, and the network does what the update says."""

import copy
import hashlib

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import get_peft_model_state_dict
from safetensors import safe_open
from torch import nn

from aquatint.export import diffusers_lora, kohya, modelspec
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.native import Blocks
from aquatint.export.reading import from_tensors, read
from aquatint.families import sd

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
PART = {"sd1": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}


def with_update(model: nn.Module, adapter: Adapter, *, part: str) -> nn.Module:
    """By hand: W + B A."""
    model = copy.deepcopy(model)
    for layer, factors in adapter.layers.items():
        name = layer.removeprefix(f"{part}.")
        if name != layer:
            model.get_submodule(name.removeprefix("text_model.")).weight.data += factors.delta()
    return model


@pytest.mark.parametrize("name", PART)
def test_the_denoisers_take_every_key_and_lack_none(name, miniature, adapter_for):
    adapter = adapter_for(name, miniature(name), rank=2, alpha=1.0)
    named, model = diffusers_lora.spelled(adapter), copy.deepcopy(miniature(name))
    model.load_lora_adapter(dict(named), prefix=PART[name])
    loaded = {f"{PART[name]}.{key}": tensor for key, tensor in get_peft_model_state_dict(model, adapter_name="default_0").items()}
    assert len(loaded) == 2 * len(adapter.layers)
    assert loaded.keys() == named.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in named.items())
    assert set(model.peft_config["default_0"].alpha_pattern.values()) <= {2}
    assert model.peft_config["default_0"].lora_alpha == 2


def test_kohyas_names_of_sdxl_load_by_its_pipelines_own_rules(miniature, adapter_for):
    model, adapter = copy.deepcopy(miniature("sdxl")), adapter_for("sdxl", miniature("sdxl"), rank=2, alpha=1.0)
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(kohya.spelled(adapter)), unet_config=model.config)
    StableDiffusionXLPipeline.load_lora_into_unet(state, network_alphas=alphas, unet=model)
    wanted = with_update(miniature("sdxl"), adapter, part="unet")
    layers = {layer.removeprefix("unet.") for layer in adapter.layers}
    injected = {name.removesuffix(".lora_A") for name, _ in model.named_modules() if name.endswith(".lora_A")}
    assert injected == layers
    model.fuse_lora()
    for layer in sorted(layers):
        weight = model.get_submodule(layer).base_layer.weight
        torch.testing.assert_close(weight, wanted.get_submodule(layer).weight, rtol=1e-5, atol=1e-5)


def test_blocks_of_another_size_are_numbered_as_diffusers_counts_them(adapter_for):
    """A U-Net of one layer a block, as miniatures have it."""
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    adapter, blocks = adapter_for("sdxl", model), Blocks.of(1, model.config.up_block_types)
    named = kohya.spelled(adapter, blocks=blocks)
    assert {"lora_unet_input_blocks_3_1_proj_in.alpha", "lora_unet_output_blocks_1_2_conv.alpha"} <= named.keys()
    state, _ = StableDiffusionXLPipeline.lora_state_dict(dict(named), unet_config=model.config)
    converted = convert_unet_state_dict_to_peft({key.removeprefix("unet."): tensor for key, tensor in state.items()})
    assert {f"unet.{key}" for key in converted} == diffusers_lora.spelled(adapter).keys()
    back = from_tensors(named.items(), {"ss_base_model_version": "sdxl_base_v1-0"}, blocks=blocks)
    assert back.layers.keys() == adapter.layers.keys()


def test_kohyas_names_of_flux_hold_the_tensors_that_diffusers_takes_out_of_them(miniature, adapter_for):
    """Its converter fixes the width of single blocks at 3072, so a miniature shows the double ones."""
    adapter = adapter_for("flux", miniature("flux"), rank=2, alpha=0.5, only=ATTENTION)
    doubles = {name: f for name, f in adapter.layers.items() if ".transformer_blocks." in name}
    converted = _convert_kohya_flux_lora_to_diffusers(dict(kohya.spelled(Adapter(doubles, "flux"))))
    model = copy.deepcopy(miniature("flux"))
    model.load_lora_adapter(converted, prefix="transformer")
    model.fuse_lora()
    wanted = with_update(miniature("flux"), Adapter(doubles), part="transformer")
    assert len(doubles) == 8
    for layer in doubles:
        name = layer.removeprefix("transformer.")
        torch.testing.assert_close(model.get_submodule(name).base_layer.weight, wanted.get_submodule(name).weight, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    return sd.tiny().pipeline


def whole_adapter(pipeline, *, ranks=(2,), alphas=(None,)) -> Adapter:
    """U-Net with convolutions, and text encoder; ranks and alphas in turn."""
    generator, layers = torch.Generator().manual_seed(5), {}
    for part, model, level in (("unet", pipeline.unet, ""), ("text_encoder", pipeline.text_encoder, "text_model.")):
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and any(word in name for word in ("attn", "conv1", "fc1", "proj_in")):
                rank, weight = ranks[len(layers) % len(ranks)], module.weight
                down = torch.randn(rank, *weight.shape[1:], generator=generator) * 0.2
                up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2), generator=generator) * 0.2
                layers[f"{part}.{level}{name}"] = Factors(down, up, alphas[len(layers) % len(alphas)])
    return Adapter(layers, "sd1", metadata={"modelspec.trigger_phrase": "zwx"})


def answer(pipeline, *, unet=None, text_encoder=None):
    with torch.no_grad():
        told = (text_encoder or pipeline.text_encoder)(torch.arange(10)[None])[0]
        return (unet or pipeline.unet)(torch.ones(1, 4, 8, 8), torch.tensor([5]), encoder_hidden_states=told)[0]


@pytest.mark.parametrize("write", [kohya.write, diffusers_lora.write_adapter])
@pytest.mark.parametrize(("ranks", "alphas"), [((2,), (None,)), ((2,), (1.0,)), ((2, 4, 3), (None,)), ((2, 4), (1.0, 3.0, 8.0))])
def test_a_stock_pipeline_does_what_the_adapter_says(write, ranks, alphas, pipeline, tmp_path):
    """Also where layers differ in rank and alpha, which its converter mixes up unless all have one alpha."""
    adapter = whole_adapter(pipeline, ranks=ranks, alphas=alphas)
    parts = {part: with_update(getattr(pipeline, part), adapter, part=part) for part in ("unet", "text_encoder")}
    wanted, file = answer(pipeline, **parts), tmp_path / "adapter.safetensors"
    write(adapter, file, facts={})
    try:
        pipeline.load_lora_weights(tmp_path, weight_name=file.name)
        torch.testing.assert_close(answer(pipeline), wanted, rtol=1e-4, atol=1e-4)
    finally:
        pipeline.unload_lora_weights()
    assert (answer(pipeline) - wanted).abs().max() > 1e-2
    back = read(file)
    assert back.layers.keys() == adapter.layers.keys()
    for name, factors in adapter.layers.items():
        torch.testing.assert_close(back.layers[name].delta(), factors.delta(), rtol=1e-5, atol=1e-6)


def test_powers_of_two_are_folded_without_a_bit_lost_and_half_precision_stays(pipeline):
    adapter = whole_adapter(pipeline, ranks=(4,), alphas=(1.0,))
    half = {name: Factors(f.down.bfloat16(), f.up.bfloat16(), f.alpha) for name, f in adapter.layers.items()}
    named = diffusers_lora.spelled(Adapter(half, "sd1"))
    assert {tensor.dtype for tensor in named.values()} == {torch.bfloat16}
    back = from_tensors(named.items(), {"ss_base_model_version": "sd_v1"})
    assert all(torch.equal(back.layers[name].with_alpha(1.0).up, f.up) for name, f in half.items())
    odd = {name: Factors(f.down.bfloat16(), f.up.bfloat16(), 3.7) for name, f in adapter.layers.items()}
    assert {t.dtype for n, t in diffusers_lora.spelled(Adapter(odd, "sd1")).items() if "lora_B" in n} == {torch.float32}


def test_the_file_says_what_it_is(pipeline, tmp_path):
    file = tmp_path / "zwx.safetensors"
    kohya.write(whole_adapter(pipeline, ranks=(4,), alphas=(2.0,)), file, facts={"modelspec.title": "zwx"})
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
        alphas = {key: float(opened.get_tensor(key)) for key in opened.keys() if key.endswith(".alpha")}  # noqa: SIM118
    assert len(alphas) == len(whole_adapter(pipeline).layers)
    assert set(alphas.values()) == {2.0}
    content = file.read_bytes()
    assert said["modelspec.hash_sha256"] == "0x" + hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    expected = {
        "ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora", "ss_network_dim": "4", "ss_network_alpha": "2",
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.title": "zwx",
        "modelspec.resolution": "512x512", "modelspec.trigger_phrase": "zwx", "format": "pt",
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    assert len(said["modelspec.date"]) == 10


def test_the_hash_follows_the_order_of_safetensors_with_two_formats(tmp_path):
    from aquatint.export.tensors import write_tensors

    named = {"b": torch.ones(3, dtype=torch.float16), "a": torch.zeros(2, dtype=torch.float16), "c": torch.full((5,), 2.0)}
    write_tensors(named, tmp_path / "x", metadata={})
    content = (tmp_path / "x").read_bytes()
    assert modelspec.digest(named) == "0x" + hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def test_dora_goes_through_diffusers_names(pipeline, tmp_path):
    """PEFT's own DoRA layers, trained by one made-up step, then our reading and writing, then the stock loader."""
    from peft import LoraConfig, inject_adapter_in_model

    model = copy.deepcopy(pipeline.unet)
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_out.0"], use_dora=True), model)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    theirs = {f"unet.{key}": tensor for key, tensor in get_peft_model_state_dict(model, adapter_name="default").items()}
    adapter = from_tensors(theirs.items(), {"ss_base_model_version": "sd_v1"})
    assert adapter.kinds == ("DoRA",)
    diffusers_lora.write_adapter(adapter, tmp_path / "dora.safetensors", facts={})
    try:
        pipeline.load_lora_weights(tmp_path, weight_name="dora.safetensors")
        torch.testing.assert_close(answer(pipeline), answer(pipeline, unet=model), rtol=1e-4, atol=1e-4)
    finally:
        pipeline.unload_lora_weights()
    with torch.no_grad():
        assert (answer(pipeline) - answer(pipeline, unet=model)).abs().max() > 1e-2
    there = kohya.spelled(adapter)
    assert {tuple(tensor.shape[1:]) for key, tensor in there.items() if key.endswith(".dora_scale")} == {(1,)}
    back = from_tensors(there.items(), {})
    assert all(torch.equal(back.layers[n].magnitude, f.magnitude) for n, f in adapter.layers.items())


