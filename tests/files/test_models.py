"""Adapters against whole models: written into their weights, and drawn from their differences."""

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from aquatint.errors import BadFile
from aquatint.export import diffusers_lora, onto_base
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.native import BLOCKS, published_transformer, published_unet
from aquatint.export.reading import read
from aquatint.export.weights import weights_of


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from aquatint.families import sd

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "base"
    sd.tiny().pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base):
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    generator, layers = torch.Generator().manual_seed(5), {}
    for part, model, level in (("unet", pipeline.unet, ""), ("text_encoder", pipeline.text_encoder, "text_model.")):
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and any(word in name for word in ("attn", "conv1", "fc1", "proj_in")):
                weight = module.weight
                down = torch.randn(2, *weight.shape[1:], generator=generator) * 0.2
                layers[f"{part}.{level}{name}"] = Factors(
                    down, torch.randn(weight.shape[0], 2, *[1] * (weight.ndim - 2), generator=generator) * 0.2, 1.0
                )
    return Adapter(layers, "sd1")


def answer(pipeline):
    with torch.no_grad():
        told = pipeline.text_encoder(torch.arange(10)[None])[0]
        return pipeline.unet(torch.ones(1, 4, 8, 8), torch.tensor([5]), encoder_hidden_states=told)[0]


def test_a_merged_model_does_what_model_and_adapter_do_together(base, adapter, tmp_path):
    diffusers_lora.write_adapter(adapter, tmp_path / "a.safetensors", facts={})
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    before = answer(pipeline)
    pipeline.load_lora_weights(tmp_path, weight_name="a.safetensors")
    pipeline.set_adapters(pipeline.get_active_adapters(), 0.5)
    count = onto_base.write(base, [("a", adapter, 0.5)], out=tmp_path / "merged")
    merged = answer(StableDiffusionPipeline.from_pretrained(tmp_path / "merged"))
    assert count == len(adapter.layers)
    torch.testing.assert_close(merged, answer(pipeline), rtol=1e-4, atol=1e-4)
    assert (merged - before).abs().max() > 1e-2


def test_dora_is_merged_as_peft_computes_it(base, tmp_path):
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    from aquatint.export.reading import from_tensors

    pipeline = StableDiffusionPipeline.from_pretrained(base)
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "conv1"], use_dora=True), pipeline.unet)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in pipeline.unet.named_parameters():
        if "lora_" in name:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    theirs = {f"unet.{key}": tensor for key, tensor in get_peft_model_state_dict(pipeline.unet, adapter_name="default").items()}
    onto_base.write(base, [("dora", from_tensors(theirs.items(), {}), 1.0)], out=tmp_path / "merged")
    merged = answer(StableDiffusionPipeline.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(merged, answer(pipeline), rtol=1e-4, atol=1e-4)


def test_the_base_keeps_its_format_and_old_forms_of_the_weights_are_not_copied(base, adapter, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(base, half)
    weights = half / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    (half / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02old")
    shutil.copyfile(weights, half / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    onto_base.write(half, [("a", adapter, 1.0)], out=tmp_path / "merged")
    assert {t.dtype for t in load_file(tmp_path / "merged" / "unet" / weights.name).values()} == {torch.float16}
    assert sorted(p.name for p in (tmp_path / "merged" / "unet").iterdir()) == ["config.json", weights.name]
    assert (tmp_path / "merged" / "vae" / weights.name).read_bytes() == (base / "vae" / weights.name).read_bytes()


def test_adapters_that_do_not_fit_leave_nothing_behind(base, adapter, tmp_path):
    other = Adapter({"transformer.transformer_blocks.0.attn.to_q": Factors(torch.ones(1, 3072), torch.ones(3072, 1))}, "flux")
    name = next(iter(adapter.layers))
    wide = Adapter({name: Factors(torch.ones(1, 99), torch.ones(99, 1))}, "sdxl")
    out = tmp_path / "merged"
    with pytest.raises(BadFile, match=r"x: this adapter is for FLUX.1, and the base is another model: 1 of 1 layers are not in it"):
        onto_base.write(base, [("a", adapter, 1.0), ("x", other, 1.0)], out=out)
    with pytest.raises(BadFile, match=r"is \[99, 99\] in this adapter for Stable Diffusion XL, and \[.*\] in the base"):
        onto_base.write(base, [("x", wide, 1.0)], out=out)
    with pytest.raises(BadFile, match="only LoRA and DoRA are merged"):
        onto_base.write(base, [("x", Adapter({}, "sd1", others={"unet.a": "LoKr"}), 1.0)], out=out)
    with pytest.raises(BadFile, match="merged into a diffusers folder, and this is none"):
        onto_base.write(base / "unet", [("a", adapter, 1.0)], out=out)
    strong = Adapter({name: Factors(f.down * 1e30, f.up * 1e30) for name, f in adapter.layers.items()}, "sd1")
    with pytest.raises(BadFile, match="not finite"):
        onto_base.write(base, [("a", strong, 1.0)], out=out)
    assert list(tmp_path.iterdir()) == []


def test_blocks_of_a_checkpoint_in_one_file_are_numbered_as_diffusers_does(tmp_path, miniature):
    """The miniature of SDXL has two layers a block, as the published one: diffusers' own converter reads our names."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    for name in ("sd1", "sdxl"):
        model = miniature(name)
        state = model.state_dict()
        there = {}
        for key, tensor in state.items():
            module, _, leaf = key.rpartition(".")
            there[f"model.diffusion_model.{published_unet(module, BLOCKS[name])}.{leaf}"] = tensor
        assert len(there) == len(state)
        converted = convert_ldm_unet_checkpoint(dict(there), dict(model.config))
        assert converted.keys() == state.keys()
        assert all(torch.equal(converted[key], tensor) for key, tensor in state.items())
        save_file({key: tensor.contiguous() for key, tensor in there.items()}, tmp_path / f"{name}.safetensors")
        found = weights_of(tmp_path / f"{name}.safetensors")
        assert {key.removeprefix("unet.") for key in found} == state.keys()
        assert all(torch.equal(found[f"unet.{key}"].read(), tensor) for key, tensor in state.items())


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_matrices_of_a_transformer_in_one_file_are_taken_apart(name, tmp_path, miniature):
    """Written as the published checkpoint has them, against the weights of the diffusers model."""
    state, there = miniature(name).state_dict(), {}
    for key, tensor in state.items():
        module, _, leaf = key.rpartition(".")
        found = published_transformer(module, name)
        if found is None or f"{found[0]}.{leaf}" in there:
            continue
        parts = [state[f"{part}.{leaf}"] for part in found[1]]
        swaps = module == "norm_out.linear" or (module.endswith("norm1_context.linear") and tensor.shape[0] == 64)
        there[f"{found[0]}.{leaf}"] = torch.cat(tensor.chunk(2)[::-1]) if swaps else torch.cat(parts)
    file = tmp_path / "model.safetensors"
    save_file({f"model.diffusion_model.{key}": tensor.contiguous() for key, tensor in there.items()}, file)
    found = weights_of(file)
    layers = {f"{key}.weight" for key, module in miniature(name).named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert len(layers) >= 30
    assert layers <= {key.removeprefix("transformer.") for key in found}
    assert all(torch.equal(found[f"transformer.{key}"].read(), state[key]) for key in layers)


def test_what_was_merged_is_extracted_again(base, adapter, tmp_path):
    from aquatint.commands.extract import Extract, run

    onto_base.write(base, [("a", adapter, 1.0)], out=tmp_path / "tuned")
    told = "\n".join(run(Extract(tuned=str(tmp_path / "tuned"), base=str(base), rank=2, out=tmp_path / "drawn.safetensors")))
    drawn = read(tmp_path / "drawn.safetensors")
    assert "kept 100.0% of the squared difference" in told
    assert drawn.layers.keys() == adapter.layers.keys()
    for name, factors in adapter.layers.items():
        torch.testing.assert_close(drawn.layers[name].delta(), factors.delta(), rtol=1e-3, atol=1e-4)


def test_extraction_names_what_no_adapter_holds_and_what_differs_in_kind(base, adapter, tmp_path):
    from aquatint.commands.extract import Extract, run

    onto_base.write(base, [("a", adapter, 1.0)], out=tmp_path / "tuned")
    weights = tmp_path / "tuned" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.bias"] += 1
    save_file(tensors, weights)
    told = "\n".join(run(Extract(tuned=str(tmp_path / "tuned"), base=str(base), rank=2, out=tmp_path / "1.safetensors")))
    assert "left out: 1 biases, norms and embeddings that differ too" in told
    save_file({name: tensor for name, tensor in tensors.items() if name != "conv_in.weight"}, weights)
    with pytest.raises(BadFile, match=r"1 weights are in base alone, first unet.conv_in.weight"):
        list(run(Extract(tuned=str(tmp_path / "tuned"), base=str(base), out=tmp_path / "2.safetensors")))
    save_file({**tensors, "conv_in.weight": torch.ones(5, 4, 3, 3)}, weights)
    with pytest.raises(BadFile, match=r"unet.conv_in.weight is \[32, 4, 3, 3\] in base and \[5, 4, 3, 3\] in tuned"):
        list(run(Extract(tuned=str(tmp_path / "tuned"), base=str(base), out=tmp_path / "2.safetensors")))
    save_file({**tensors, "conv_in.weight": torch.full((32, 4, 3, 3), torch.nan)}, weights)
    with pytest.raises(BadFile, match=r"unet\.conv_in: the weights of .* are not finite"):
        list(run(Extract(tuned=str(tmp_path / "tuned"), base=str(base), out=tmp_path / "2.safetensors")))
    with pytest.raises(BadFile, match="do not differ in any layer"):
        list(run(Extract(tuned=str(base), base=str(base), out=tmp_path / "2.safetensors")))
    assert not (tmp_path / "2.safetensors").exists()


def test_what_is_no_model_is_told(tmp_path, adapter):
    diffusers_lora.write_adapter(adapter, tmp_path / "a.safetensors", facts={})
    with pytest.raises(BadFile, match="this is no model"):
        weights_of(tmp_path / "a.safetensors")
    with pytest.raises(BadFile, match="this folder is no diffusers model"):
        weights_of(tmp_path)
