"""Files from anywhere: what they are is told, and what is broken or dangerous is refused before it is used."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from aquatint.errors import BadFile
from aquatint.export import diffusers_lora, kohya
from aquatint.export.architectures import recognise
from aquatint.export.opening import header
from aquatint.export.programs import verdicts
from aquatint.export.reading import from_tensors, read

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
GOOD = {f"{LAYER}.lora_A.weight": torch.ones(2, 768), f"{LAYER}.lora_B.weight": torch.ones(8, 2)}
KOHYA = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


class Trap:
    """Would leave a file behind if it were ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.ckpt", "adapter.pt", "adapter.bin"])
def test_a_pickle_is_never_opened_whatever_it_is_called(name, tmp_path):
    file, trace = tmp_path / name, tmp_path / "opened"
    for protocol in (2, 4):
        file.write_bytes(pickle.dumps(Trap(trace), protocol=protocol))
        with pytest.raises(BadFile, match="pickle, which may run any code"):
            read(file)
    torch.save(GOOD, file)
    with pytest.raises(BadFile, match=r"zip archive.*pickle inside"):
        read(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"abc", "too short"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "pointer of Git LFS"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "a GGUF file"),
        (b'{"error": "not found"}', "JSON text"),
        (b"\xff" * 64, "no whole safetensors file"),
        ((10**9).to_bytes(8, "little") + b"{" + b" " * 50, "no whole safetensors file"),
    ],
)
def test_what_merely_bears_the_name_is_told_apart(content, message, tmp_path):
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(content)
    with pytest.raises(BadFile, match=message):
        read(file)


def test_a_file_that_was_cut_off_and_one_that_is_not_there(tmp_path):
    file = tmp_path / "adapter.safetensors"
    save_file(GOOD, file)
    assert len(header(file).shapes) == 2
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BadFile, match=r"no whole safetensors file .* fetch or write it again"):
        read(file)
    with pytest.raises(BadFile, match="no such file"):
        read(tmp_path / "other.safetensors")
    with pytest.raises(BadFile, match="this is a folder"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({f"{LAYER}.lora_B.weight": torch.full((8, 2), torch.nan)}, "not finite"),
        ({f"{LAYER}.lora_A.weight": torch.full((2, 768), torch.inf)}, "not finite"),
        ({f"{LAYER}.lora_B.weight": None}, "there is no `up` factor"),
        ({f"{LAYER}.lora_A.weight": None}, "there is no `down` factor"),
        ({f"{LAYER}.lora_B.weight": torch.ones(8, 3)}, r"shapes \[8, 3\] and \[2, 768\] cannot be multiplied"),
        ({f"{LAYER}.lora_B.weight": torch.ones(8)}, "cannot be multiplied"),
        ({f"{LAYER}.lora_B.weight": torch.ones(8, 2, dtype=torch.int8)}, "quantised adapters are not read"),
        ({f"{LAYER}.alpha": torch.ones(3)}, "its alpha is"),
        ({f"{LAYER}.alpha": torch.tensor(torch.nan)}, "alpha holds numbers that are not finite"),
        ({f"{LAYER}.lora_magnitude_vector": torch.ones(7)}, "7 magnitudes for 8 outputs"),
        ({f"{LAYER}.lora_up.weight": torch.ones(8, 2)}, "says again"),
    ],
)
def test_factors_that_do_not_fit_are_refused_by_the_layers_name(changed, message):
    tensors = {name: tensor for name, tensor in {**GOOD, **changed}.items() if tensor is not None}
    with pytest.raises(BadFile, match=message):
        from_tensors(tensors.items(), {})


def test_one_layer_under_two_names_is_refused():
    down, up = GOOD.values()
    twice = {**GOOD, f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up}
    with pytest.raises(BadFile, match="two updates of this layer, under different names"):
        from_tensors(twice.items(), {})


@pytest.mark.parametrize(
    "layer",
    [
        "transformer.transformer_blocks.59.attn.to_q",  # Qwen-Image is as wide as FLUX, and deeper
        "transformer.transformer_blocks.0.img_mlp.net.2",
        "lora_unet_layers_0_attention_qkv",
        "transformer.blocks.0.attn1.to_q",
    ],
)
def test_other_architectures_are_not_taken_for_known_ones(layer):
    ends = ("lora_down", "lora_up") if layer.startswith("lora_") else ("lora_A", "lora_B")
    named = {f"{layer}.{ends[0]}.weight": torch.ones(1, 3072), f"{layer}.{ends[1]}.weight": torch.ones(3072, 1)}
    adapter = from_tensors(named.items(), {})
    assert len(adapter.layers) == 1
    assert adapter.architecture is None
    assert not any(verdict.is_loaded for verdict in verdicts(adapter, named))
    with pytest.raises(BadFile, match="an architecture that is not known here"):
        kohya.spelled(adapter)
    if layer.startswith("lora_"):
        with pytest.raises(BadFile, match="its layers' names in diffusers are not either"):
            diffusers_lora.spelled(adapter)


def test_a_model_is_no_adapter():
    with pytest.raises(BadFile, match="this is no adapter: of 1 tensors none is a factor"):
        from_tensors([("model.diffusion_model.input_blocks.0.0.weight", torch.ones(2, 2))], {})


def test_alpha_from_every_place_it_may_stand_in():
    down, up = GOOD.values()

    def scale(tensors, **metadata):
        (factors,) = from_tensors(tensors.items(), metadata).layers.values()
        return factors.scale

    kohya = {f"{KOHYA}.lora_down.weight": down, f"{KOHYA}.lora_up.weight": up}
    assert scale(kohya) == 1
    assert scale({**kohya, f"{KOHYA}.alpha": torch.tensor(1.0)}) == 0.5
    said = {"unet.r": 2, "unet.lora_alpha": 8}
    assert scale(GOOD, lora_adapter_metadata=json.dumps(said)) == 4
    assert scale(GOOD, lora_adapter_metadata=json.dumps({**said, "unet.alpha_pattern": {"attn2.to_k": 1}})) == 0.5
    assert scale(GOOD, lora_adapter_metadata=json.dumps({**said, "unet.alpha_pattern": {"attn1.to_k": 1}})) == 4
    assert scale(GOOD, lora_adapter_metadata=json.dumps({**said, "unet.use_rslora": True})) == pytest.approx(8 / 2**0.5)
    assert scale(GOOD, lora_adapter_metadata="nothing") == 1


def test_a_folder_as_peft_saves_it(tmp_path):
    from peft import LoraConfig, get_peft_model

    from aquatint.families import sd

    model = get_peft_model(sd.tiny().pipeline.unet, LoraConfig(r=2, lora_alpha=6, target_modules=["to_q"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.5)
    model.save_pretrained(tmp_path)
    adapter = read(tmp_path)
    assert (adapter.spelling, adapter.architecture, adapter.unknown) == ("peft", "sd1", ())
    assert {factors.scale for factors in adapter.layers.values()} == {3}
    model.merge_and_unload()
    assert len(adapter.layers) == 8
    assert all(name.startswith("unet.") and name.endswith(".to_q") for name in adapter.layers)


def test_a_middle_factor_is_multiplied_in():
    """LoCon's, against three convolutions one after another."""
    generator = torch.Generator().manual_seed(0)
    down, mid, up = (torch.randn(*shape, generator=generator) for shape in ((3, 5, 1, 1), (3, 3, 3, 3), (7, 3, 1, 1)))
    base = "lora_unet_mid_block_resnets_0_conv1"
    named = {f"{base}.lora_down.weight": down, f"{base}.lora_mid.weight": mid, f"{base}.lora_up.weight": up}
    (factors,) = from_tensors(named.items(), {}).layers.values()
    x, conv = torch.randn(1, 5, 6, 6, generator=generator), torch.nn.functional.conv2d
    wanted = conv(conv(conv(x, down), mid, padding=1), up)
    torch.testing.assert_close(conv(x, factors.delta(), padding=1), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ending", ["hada_w1_a", "lokr_w1", "oft_blocks", "diff"])
def test_other_kinds_are_known_by_name(ending):
    adapter = from_tensors([(f"{KOHYA}.{ending}", torch.ones(2, 2))], {})
    assert adapter.kinds == ({"hada_w1_a": "LoHa", "lokr_w1": "LoKr", "oft_blocks": "OFT", "diff": "difference"}[ending],)
    assert not adapter.layers


@pytest.mark.parametrize(
    ("layers", "metadata", "architecture"),
    [
        ({"unet.x.attn2.to_k": (768, 320)}, {}, "sd1"),
        ({"unet.x.attn2.to_k": (1024, 320)}, {}, "sd2"),
        ({"unet.x.attn2.to_k": (2048, 640)}, {"ss_base_model_version": "sd_v1"}, "sdxl"),  # widths do not lie
        ({"unet.x.attn2.to_k": (32, 32)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"unet.x.attn2.to_k": (32, 32)}, {"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"unet.x.transformer_blocks.3.attn1.to_k": (640, 640)}, {}, "sdxl"),
        ({"unet.x.attn1.to_k": (320, 320)}, {}, "sd1"),
        ({"transformer.single_transformer_blocks.0.proj_mlp": (32, 128)}, {}, "flux"),
        ({"transformer.transformer_blocks.0.attn.to_q": (1536, 1536)}, {}, "sd3"),
        ({"transformer.transformer_blocks.0.attn.to_q": (2432, 2432)}, {}, "sd3"),
        ({"transformer.transformer_blocks.0.attn.to_q": (3072, 3072)}, {}, "flux"),
        ({"transformer.transformer_blocks.0.attn.to_q": (32, 32)}, {"ss_base_model_version": "sd3"}, "sd3"),
        ({"text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj": (1280, 1280)}, {}, "sdxl"),
        ({"unet.x.attn1.to_k": (8, 8), "transformer.transformer_blocks.0.attn.to_q": (8, 8)}, {}, None),
    ],
)
def test_architectures_are_recognised(layers, metadata, architecture):
    assert recognise(layers, metadata) == architecture
