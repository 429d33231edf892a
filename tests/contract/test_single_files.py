"""Single files of several families: told apart by names alone, counted by part, and loaded, where miniatures can be, as real ones are.

Diffusers tells FLUX files by a width that is written into its code (3072), so no miniature of one loads: it is held to its names here.
"""

import json

import original_names
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from aquatint.core.fingerprint import fingerprint
from aquatint.errors import BadBase
from aquatint.families import _sources, _tiny, sd3, sdxl
from aquatint.methods.base import Method
from aquatint.recognition import recognise
from aquatint.registry import families

DENOISER = "model.diffusion_model."
SHARED = {f"{DENOISER}input_blocks.0.0.weight": [9], "first_stage_model.decoder.conv_in.weight": [5]}
FILES = {
    "sd": {**SHARED, "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": [3]},
    "sdxl": {
        **SHARED, f"{DENOISER}label_emb.0.0.weight": [2], "conditioner.embedders.0.transformer.text_model.a.weight": [3],
        "conditioner.embedders.1.model.transformer.resblocks.0.ln_1.weight": [4],
    },
    "sd3": {
        f"{DENOISER}joint_blocks.0.x_block.attn.qkv.weight": [11], f"{DENOISER}pos_embed": [100], "first_stage_model.encoder.x": [5],
        "text_encoders.clip_l.transformer.a": [3], "text_encoders.clip_g.transformer.a": [4],
        "text_encoders.t5xxl.transformer.shared.weight": [7],
    },
    "flux": {
        f"{DENOISER}double_blocks.0.img_attn.qkv.weight": [11], f"{DENOISER}single_blocks.0.linear1.weight": [2], "vae.decoder.x": [5],
        "text_encoders.clip_l.transformer.a": [3], "text_encoders.t5xxl.transformer.shared.weight": [7],
    },
}  # fmt: skip
TRAINED = {"sd": (9, 3), "sdxl": (9 + 2, 3 + 4), "sd3": (11, 3 + 4), "flux": (11 + 2, 3)}
"""Numbers of the denoiser without its table of places, and of the text encoders that can be trained."""


def written(path, names):
    """A file of which there is the header alone."""
    described = json.dumps({name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in names.items()}).encode()
    path.write_bytes(len(described).to_bytes(8, "little") + described)
    return path


def prints(bundle):
    return [fingerprint(module) for module in bundle.modules]


@pytest.mark.parametrize("name", FILES)
def test_a_file_tells_its_family(name, tmp_path):
    file = written(tmp_path / "one.safetensors", FILES[name])
    found = recognise(str(file))
    assert (found.name, found.class_name, found.told) == (name, next(iter(families[name].PIPELINES)), "text")
    assert recognise(str(file), name).name == name
    for other in {"sd", "sdxl", "sd3", "flux"} - {name}:
        with pytest.raises(BadBase, match=f"not a whole model that the family {other} loads"):
            recognise(str(file), other)


@pytest.mark.parametrize(
    "names",
    [
        {"double_blocks.0.img_attn.qkv.weight": [11], "single_blocks.0.linear1.weight": [2]},  # the transformer of FLUX alone
        {name: shape for name, shape in FILES["sd3"].items() if not name.startswith("text_encoders")},  # as SD3.5 is published
        {**SHARED, "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight": [4]},  # the refiner of SDXL
    ],
)
def test_a_part_of_a_model_is_refused(names, tmp_path):
    with pytest.raises(BadBase, match="not a whole model that any family knows"):
        recognise(str(written(tmp_path / "one.safetensors", names)))


@pytest.mark.parametrize("name", FILES)
def test_the_parts_of_a_file_are_counted_by_their_prefixes(name, tmp_path):
    family, file = families[name], written(tmp_path / "one.safetensors", {**FILES[name], "model_ema.x": [1000]})
    parts = _sources.shapes(str(file), family.FILE_PARTS)
    full, with_text = Method.resolve("full"), Method.resolve({"kind": "full", "text_encoder": True})
    denoiser, text = TRAINED[name]
    assert full.num_trained(parts, family) == denoiser
    assert with_text.num_trained(parts, family) == denoiser + text
    assert full.num_written(parts, family) == sum(shape[0] for shape in FILES[name].values())


@pytest.fixture
def xl():
    """The second encoder as deep as diffusers knows SDXL by."""
    torch.manual_seed(0)
    pipeline = sdxl.tiny().pipeline
    settings = {**pipeline.text_encoder_2.config.to_dict(), "num_hidden_layers": 10}
    pipeline.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**settings))
    return sdxl._bundle(pipeline)


@pytest.fixture
def large():
    """A transformer as deep as diffusers knows SD3.5 large by; the first encoder's projection is the identity in its files."""
    torch.manual_seed(0)
    pipeline = sd3.tiny().pipeline
    depth = {"num_layers": 38, "attention_head_dim": 8, "num_attention_heads": 1, "caption_projection_dim": 8}
    more = {"pooled_projection_dim": 32 + 20, "dual_attention_layers": ()}
    pipeline.transformer = type(pipeline.transformer).from_config({**pipeline.transformer.config, **depth, **more})
    pipeline.text_encoder, _ = _tiny.clip(32, projected=32)
    torch.nn.init.eye_(pipeline.text_encoder.text_projection.weight)
    return sd3._bundle(pipeline)


def test_a_file_of_sdxl_loads(xl, on_hub, tmp_path):
    xl.pipeline.save_pretrained(tmp_path / "base")
    on_hub(tmp_path / "base", "stabilityai/stable-diffusion-xl-base-1.0")
    save_file({n: t.contiguous() for n, t in original_names.sdxl(xl.pipeline).items()}, file := tmp_path / "one.safetensors")
    assert recognise(str(file)).name == "sdxl"
    assert prints(sdxl.load(file)) == prints(sdxl.load(tmp_path / "base")) == prints(xl)


def test_a_file_of_sd3_loads_with_t5_and_without(large, on_hub, tmp_path):
    large.pipeline.save_pretrained(tmp_path / "base")
    on_hub(tmp_path / "base", "stabilityai/stable-diffusion-3.5-large")
    weights = {name: tensor.clone() for name, tensor in original_names.sd3(large.pipeline).items()}
    save_file(weights, file := tmp_path / "one.safetensors")
    assert recognise(str(file)).name == "sd3"
    assert prints(sd3.load(file)) == prints(large)
    save_file({name: tensor for name, tensor in weights.items() if "t5xxl" not in name}, file)
    without = sd3.load(file)
    assert without.pipeline.text_encoder_3 is None
    assert prints(without) == prints(large)[:4]
