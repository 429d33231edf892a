"""Names of the published architectures at full size: written, read back, and looked up by every program's own rules."""

import copy

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_kohya_flux_lora_to_diffusers,
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from torch import nn

from aquatint.export import comfy, diffusers_lora, kohya, programs
from aquatint.export.architectures import ARCHITECTURES
from aquatint.export.published_sizes import denoiser, encoders
from aquatint.export.reading import from_tensors
from aquatint.export.spelling import dotted, parse, underscored

COUNTS = {"sd1": 282, "sd2": 282, "sdxl": 794, "sd3": 341, "flux": 504}
"""Linear layers and convolutions of each network."""
UNETS, TRANSFORMERS = ("sd1", "sd2", "sdxl"), ("sd3", "flux")
PART = {name: known.denoiser for name, known in ARCHITECTURES.items()}


def weighted(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}


def same(ours, theirs) -> bool:
    return all(
        torch.equal(ours[n].down, theirs[n].down) and torch.equal(ours[n].up, theirs[n].up) and ours[n].scale == theirs[n].scale
        for n in ours
    )


@pytest.mark.parametrize("name", COUNTS)
def test_the_table_of_layers_holds_all_of_the_real_model(name, full_size):
    real = weighted(full_size(name))
    assert len(real) == COUNTS[name]
    assert real <= denoiser(name)
    extra = {n for n in denoiser(name) - real if not n.endswith("conv_shortcut")}
    assert all(name == "sd3" and (".attn2." in n or int(n.split(".")[1]) >= 23) for n in extra)  # those of the larger variants


@pytest.mark.parametrize("name", COUNTS)
def test_kohyas_names_lead_back_to_the_same_tensors(name, full_size, adapter_for):
    adapter = adapter_for(name, full_size(name))
    there = kohya.spelled(adapter)
    assert all(key.startswith("lora_unet_") and "." not in key.split(".", 1)[0] for key in there)
    assert {key.split(".")[0] for key in there if key.endswith(".alpha")} == {key.split(".")[0] for key in there}
    back = from_tensors(there.items(), {})
    assert (back.architecture, back.spelling, back.unknown) == (name, "kohya", ())
    assert back.layers.keys() == adapter.layers.keys()
    assert same(adapter.layers, back.layers)


@pytest.mark.parametrize("name", COUNTS)
def test_comfyui_knows_all_of_kohyas_names_and_a1111_those_of_unets(name, full_size, adapter_for):
    keys = kohya.spelled(adapter_for(name, full_size(name))).keys()
    assert comfy.left_out(keys, name) == []
    assert name in TRANSFORMERS or programs.left_out_by_a1111(keys, name) == []
    assert comfy.left_out(["lora_unet_down_blocks_9_attentions_0_proj_in.alpha", *keys], name) != []


def test_comfyui_knows_diffusers_names_of_transformers_and_not_of_attention_in_unets(full_size, adapter_for):
    for name in COUNTS:
        keys = diffusers_lora.spelled(adapter_for(name, full_size(name))).keys()
        left_out = comfy.left_out(keys, name)
        assert bool(left_out) == (name in UNETS)
        assert all(".to_" in key for key in left_out)


def test_comfyuis_table_by_hand():
    """Single entries, looked up in its source."""
    assert {
        "lora_unet_input_blocks_1_1_proj_in", "diffusion_model.input_blocks.1.1.proj_in", "lora_unet_down_blocks_0_attentions_0_proj_in",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q", "lora_unet_output_blocks_2_1_conv",
        "unet.up_blocks.3.attentions.2.transformer_blocks.0.attn2.processor.to_out", "lora_unet_time_embed_0", "lora_unet_out_2",
        "lora_te_text_model_encoder_layers_0_mlp_fc1", "text_encoder.text_model.encoder.layers.11.self_attn.q_proj",
    } <= comfy.layers("sd1")  # fmt: skip
    assert {
        "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_v", "lora_unet_output_blocks_5_2_conv", "lora_unet_label_emb_0_0",
        "lora_unet_input_blocks_3_0_op", "lora_te2_text_model_encoder_layers_31_self_attn_out_proj",
        "lora_te1_text_model_encoder_layers_0_mlp_fc2",
    } <= comfy.layers("sdxl")  # fmt: skip
    assert {
        "lora_unet_joint_blocks_23_context_block_attn_qkv", "transformer.transformer_blocks.0.attn.add_q_proj", "lora_unet_x_embedder_proj",
        "lora_te3_encoder_block_23_layer_1_DenseReluDense_wi_1", "diffusion_model.joint_blocks.0.x_block.mlp.fc1",
    } <= comfy.layers("sd3")  # fmt: skip
    assert {
        "lora_unet_double_blocks_18_img_attn_qkv", "lora_unet_single_blocks_37_linear1", "transformer.single_transformer_blocks.0.proj_mlp",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1", "lora_unet_final_layer_adaLN_modulation_1",
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q",
    } <= comfy.layers("flux")  # fmt: skip
    assert "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q" not in comfy.layers("sd1")
    assert "lora_te2_text_model_encoder_layers_0_mlp_fc1" not in comfy.layers("sd1")


@pytest.mark.parametrize("name", UNETS)
def test_diffusers_own_converter_gives_back_our_keys_of_unets(name, full_size, adapter_for):
    model, adapter = full_size(name), adapter_for(name, full_size(name))
    there = _maybe_map_sgm_blocks_to_diffusers(dict(kohya.spelled(adapter)), model.config)
    converted, alphas = _convert_non_diffusers_lora_to_diffusers(there)
    bare = convert_unet_state_dict_to_peft({key.removeprefix("unet."): tensor for key, tensor in converted.items()})
    ours = diffusers_lora.spelled(adapter)
    assert {f"unet.{key}" for key in bare} == ours.keys()
    assert all(torch.equal(bare[key.removeprefix("unet.")], tensor) for key, tensor in ours.items())
    assert set(alphas.values()) == {1.0}


def test_diffusers_own_converter_gives_back_our_keys_of_flux(full_size, adapter_for):
    """Except of the layers outside the blocks, whose part it forgets to name; Stable Diffusion 3 has no converter there."""
    adapter = adapter_for("flux", full_size("flux"), only=("_blocks.",))
    converted, ours = _convert_kohya_flux_lora_to_diffusers(dict(kohya.spelled(adapter))), diffusers_lora.spelled(adapter)
    assert converted.keys() == ours.keys()
    assert all(torch.equal(converted[key], tensor) for key, tensor in ours.items())
    outside = adapter_for("flux", full_size("flux"), only=("x_embedder",))
    assert all(not key.startswith("transformer.") for key in _convert_kohya_flux_lora_to_diffusers(dict(kohya.spelled(outside))))
    (verdict, *_) = programs.verdicts(from_tensors(kohya.spelled(outside).items(), {}), kohya.spelled(outside))
    assert (verdict.program, verdict.is_loaded) == ("diffusers", False)


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux"])
def test_a_saved_file_has_exactly_the_keys_that_diffusers_injects(name, full_size, adapter_for):
    """Zero missing, zero unexpected: PEFT on the full-size model, as the stock loader calls it."""
    context = [] if PART[name] == "unet" else ["add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
    targets = ["to_q", "to_k", "to_v", "to_out.0", *context]
    with torch.device("meta"):
        model = copy.deepcopy(full_size(name))
        inject_adapter_in_model(LoraConfig(r=1, target_modules=targets), model)
    expected = {f"{PART[name]}.{key}" for key in get_peft_model_state_dict(model, adapter_name="default")}
    chosen = tuple(f".{target}" for target in targets)
    full = adapter_for(name, full_size(name))
    layers = {layer: factors for layer, factors in full.layers.items() if layer.endswith(chosen)}
    there = kohya.spelled(type(full)(layers, name))
    back = from_tensors(there.items(), {})
    assert len(expected) >= 250
    assert diffusers_lora.spelled(back).keys() == expected


@pytest.mark.parametrize("name", COUNTS)
def test_text_encoders_have_kohyas_names_and_comfyui_knows_them(name):
    sizes = {"text_encoder": 768 if name != "sd2" else 1024, "text_encoder_2": 4096 if name == "flux" else 1280, "text_encoder_3": 4096}
    ours = {
        f"{part}.{layer}.lora_{side}.weight": torch.ones((1, sizes[part]) if side == "A" else (sizes[part], 1))
        for part, layers in encoders(name).items() for layer in layers for side in "AB"
    }  # fmt: skip
    version = {"ss_base_model_version": ARCHITECTURES[name].base_version}
    adapter = from_tensors(ours.items(), version)
    assert adapter.architecture == name
    assert not adapter.unknown
    there = kohya.spelled(adapter)
    assert comfy.left_out(there, name) == []
    assert {key.split("_text_model")[0].split("_encoder_block")[0] for key in there} == set(ARCHITECTURES[name].encoders.values())
    assert diffusers_lora.spelled(from_tensors(there.items(), version)).keys() == ours.keys()


SPELLINGS = """
unet.mid_block.attentions.0.proj_in.lora_A.weight  unet.mid_block.attentions.0.proj_in  down
unet.mid_block.attentions.0.proj_in.lora.up.weight  unet.mid_block.attentions.0.proj_in  up
down_blocks.0.attentions.0.proj_in.lora_B.weight  unet.down_blocks.0.attentions.0.proj_in  up
unet.x.attn1.processor.to_out_lora.down.weight  unet.x.attn1.to_out.0  down
text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora.up.weight  text_encoder.text_model.encoder.layers.0.self_attn.out_proj  up
text_encoder.encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight  text_encoder.text_model.encoder.layers.0.mlp.fc1  up
base_model.model.transformer_blocks.0.attn.to_q.lora_A.default.weight  transformer.transformer_blocks.0.attn.to_q  down
lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0.alpha  denoiser.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0  alpha
lora_transformer_single_transformer_blocks_3_proj_mlp.lora_up.weight  transformer.single_transformer_blocks.3.proj_mlp  up
lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight  t5.encoder.block.0.layer.0.SelfAttention.q  up
text_encoders.clip_g.transformer.text_model.encoder.layers.1.mlp.fc1.lora_B  text_encoder_2.text_model.encoder.layers.1.mlp.fc1  up
diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight  denoiser.double_blocks.0.img_attn.qkv  down
lora_unet_mid_block_attentions_0_proj_in.dora_scale  denoiser.mid_block.attentions.0.proj_in  magnitude
lora_unet_mid_block_attentions_0_proj_in.hada_w1_a  denoiser.mid_block.attentions.0.proj_in  LoHa
lora_unet_mid_block_attentions_0_proj_in.lokr_w2_b  denoiser.mid_block.attentions.0.proj_in  LoKr
lora_unet_mid_block_attentions_0_proj_in.oft_blocks  denoiser.mid_block.attentions.0.proj_in  OFT
"""
"""Key, the layer it belongs to, and what it is of it."""


@pytest.mark.parametrize(("key", "layer", "role"), [line.split() for line in SPELLINGS.strip().splitlines()])
def test_every_spelling_is_read(key, layer, role):
    found = parse(key)
    assert found is not None
    assert (found.layer, found.role) == (layer, role)


def test_keys_that_are_no_adapters_are_none():
    assert parse("model.diffusion_model.input_blocks.0.0.weight") is None
    assert parse("emb_params") is None


def test_underscores_are_undone_for_every_layer_there_is():
    names = [n for a in COUNTS for n in (*denoiser(a), *(layer for group in encoders(a).values() for layer in group))]
    assert len(names) > 3000
    assert [n for n in names if dotted(underscored(n)) != n] == []
