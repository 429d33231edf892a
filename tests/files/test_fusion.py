"""Layers that other programs keep as one matrix: the update of the whole is that of its parts, exactly, and comes apart again."""

import pytest
import torch

from aquatint.errors import BadFile
from aquatint.export import kohya
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.fusion import fuse, split, widths_of
from aquatint.export.reading import from_tensors

QKV = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")


def factors(outputs, *, rank=2, alpha=None, inputs=8, seed=0):
    generator = torch.Generator().manual_seed(seed + outputs)
    return Factors(torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator), alpha)


def written(adapter):
    """Kohya's name -> the update that a program which reads the file computes: alpha / rank · up @ down."""
    named = kohya.spelled(adapter)
    layers = [name.removesuffix(".alpha") for name in named if name.endswith(".alpha")]
    return {
        layer: named[f"{layer}.alpha"] / named[f"{layer}.lora_down.weight"].shape[0]
        * named[f"{layer}.lora_up.weight"].flatten(1) @ named[f"{layer}.lora_down.weight"].flatten(1)
        for layer in layers
    }  # fmt: skip


@pytest.mark.parametrize("name", ["flux", "sd3"])
@pytest.mark.parametrize("alpha", [None, 0.5])
def test_the_fused_update_is_the_parts_one_above_the_other(name, alpha, miniature, adapter_for):
    """Against the parts' own products, in the order in which the published matrix stacks them."""
    adapter = adapter_for(name, miniature(name), rank=3, alpha=alpha)
    there = written(adapter)
    updates = {layer.removeprefix("transformer."): f.delta() for layer, f in adapter.layers.items()}
    stacked = {
        "flux": {
            "lora_unet_double_blocks_0_img_attn_qkv": [f"transformer_blocks.0.attn.to_{leaf}" for leaf in "qkv"],
            "lora_unet_double_blocks_0_txt_attn_qkv": [f"transformer_blocks.0.attn.add_{leaf}_proj" for leaf in "qkv"],
            "lora_unet_single_blocks_0_linear1": [f"single_transformer_blocks.0.{leaf}" for leaf in QKV],
            "lora_unet_single_blocks_0_linear2": ["single_transformer_blocks.0.proj_out"],
        },
        "sd3": {
            "lora_unet_joint_blocks_1_x_block_attn_qkv": [f"transformer_blocks.1.attn.to_{leaf}" for leaf in "qkv"],
            "lora_unet_joint_blocks_0_x_block_attn2_qkv": [f"transformer_blocks.0.attn2.to_{leaf}" for leaf in "qkv"],
            "lora_unet_joint_blocks_0_context_block_attn_qkv": [f"transformer_blocks.0.attn.add_{leaf}_proj" for leaf in "qkv"],
        },
    }[name]
    for whole, parts in stacked.items():
        torch.testing.assert_close(there[whole], torch.cat([updates[part] for part in parts]), rtol=1e-6, atol=1e-6)
    swapped = torch.cat(updates["norm_out.linear"].chunk(2)[::-1])
    torch.testing.assert_close(there["lora_unet_final_layer_adaLN_modulation_1"], swapped, rtol=1e-6, atol=1e-6)
    if name == "sd3":  # the last block drops the context, and keeps scale before shift
        last = torch.cat(updates["transformer_blocks.1.norm1_context.linear"].chunk(2)[::-1])
        torch.testing.assert_close(there["lora_unet_joint_blocks_1_context_block_adaLN_modulation_1"], last, rtol=1e-6, atol=1e-6)
    assert len(adapter.layers) == {"flux": 30, "sd3": 37}[name]
    back = from_tensors(kohya.spelled(adapter).items(), {"ss_base_model_version": name})
    assert back.layers.keys() == adapter.layers.keys()
    for layer, update in adapter.layers.items():
        torch.testing.assert_close(back.layers[layer].delta(), update.delta(), rtol=1e-6, atol=1e-7)


def test_parts_of_different_rank_and_strength_and_parts_without_an_update():
    parts = [factors(8, rank=2, alpha=1.0), None, factors(8, rank=4, seed=1), factors(32, rank=1, alpha=3.0)]
    whole = fuse(parts, widths=[8, 8, 8, 32], name="linear1")
    wanted = torch.cat([torch.zeros(8, 8) if part is None else part.delta() for part in parts])
    torch.testing.assert_close(whole.delta(), wanted, rtol=1e-6, atol=1e-6)
    back = split(whole, widths=[8, 8, 8, 32])
    assert [part is None for part in back] == [False, True, False, False]
    for before, after in zip(parts, back, strict=True):
        if before is not None:
            torch.testing.assert_close(after.delta(), before.delta(), rtol=1e-6, atol=1e-6)


def test_parts_that_share_their_input_factor_stay_small():
    """So kohya's own scripts train them; taken apart and put together again the file is the same."""
    whole = factors(24, rank=5, alpha=2.0)
    parts = split(whole, widths=[8, 8, 8])
    assert [part.rank for part in parts] == [5, 5, 5]
    again = fuse(parts, widths=[8, 8, 8], name="qkv")
    assert torch.equal(again.up, whole.up)
    assert torch.equal(again.down, whole.down)
    assert again.alpha == 2.0


def test_a_published_mlp_is_four_times_as_wide():
    assert widths_of(QKV, num_inputs=3072) == [3072, 3072, 3072, 12288]
    assert widths_of(QKV[:3], num_inputs=16, num_outputs=48) == [16, 16, 16]
    assert widths_of(QKV[:3], num_inputs=16, num_outputs=24) == [8, 8, 8]


def test_dora_cannot_be_fused_and_says_what_to_do():
    whole = factors(8)
    dora = Factors(whole.down, whole.up, None, torch.ones(8))
    adapter = Adapter({"transformer.transformer_blocks.0.attn.to_q": dora}, "flux")
    with pytest.raises(BadFile, match=r"DoRA keeps magnitudes .* merge the adapter into its base"):
        kohya.spelled(adapter)
