"""Bases of the wordless families as they are published: layouts, sizes, channels, counts; and what no method can do with them."""

import json
import shutil

import pytest
import torch
from cases import family_of
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DiTPipeline, DiTTransformer2DModel, UNet2DModel
from safetensors.torch import load_file, save_file

from aquatint.core.request import Request
from aquatint.errors import BadBase, BadSetting
from aquatint.evaluation import proof
from aquatint.families import _sources, ddpm, dit
from aquatint.generation.drawing import draw
from aquatint.methods.base import Method
from aquatint.methods.lora import LoRA
from aquatint.recognition import recognise

SMALL = {"sample_size": 16, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}
WITH_ATTENTION = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
WITHOUT = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "add_attention": False}


@pytest.fixture
def saved(tmp_path):
    """(scheduler=None, pipeline_class=DDPMPipeline, **config of the network) -> a base in parts, as diffusers writes it."""

    def make(scheduler=None, pipeline_class=DDPMPipeline, **config):
        torch.manual_seed(0)
        unet = UNet2DModel(**{**SMALL, **WITH_ATTENTION, **config})
        pipeline_class(unet=unet, scheduler=scheduler or DDPMScheduler()).save_pretrained(tmp_path / "base")
        return tmp_path / "base"

    return make


@pytest.fixture
def early(saved, tmp_path):
    """The same in the layout of the first models: no folders, and old names of attention layers."""
    parts, place = saved(), tmp_path / "early"
    place.mkdir()
    shutil.copy(parts / "model_index.json", place)
    shutil.copy(parts / "unet" / "config.json", place)
    shutil.copy(parts / "scheduler" / "scheduler_config.json", place)
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = load_file(parts / "unet" / "diffusion_pytorch_model.safetensors")
    for new, name in old.items():
        weights = {key.replace(new, name): value for key, value in weights.items()}
    assert sum(".query." in key for key in weights) == 8
    save_file(weights, place / "diffusion_pytorch_model.safetensors")
    return parts, place


def test_early_and_late_layouts_are_one_model(early):
    late, first = (ddpm.load(place) for place in early)
    assert {recognise(str(place)).name for place in early} == {"ddpm"}
    assert torch.equal(proof.outputs(late, ddpm), proof.outputs(first, ddpm))
    counts = [LoRA(rank=4).num_trained(_sources.shapes(str(place), {}), ddpm) for place in early]
    trained = LoRA(rank=4).attach(late, ddpm)
    assert counts == [sum(p.numel() for p in trained.values())] * 2
    in_all = Method.resolve("full").num_trained(_sources.shapes(str(early[1]), {}), ddpm)
    assert in_all == sum(p.numel() for p in first.denoiser.parameters())


@pytest.mark.parametrize("num_channels", [1, 3])
def test_channels(saved, num_channels):
    bundle = ddpm.load(saved(in_channels=num_channels, out_channels=num_channels))
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    encoded = ddpm.encode_images(bundle, pixels)
    assert encoded.mean_BCHW.shape == (2, num_channels, 16, 16)
    assert encoded.std_BCHW.abs().max() == 0
    back = ddpm.decode_latents(bundle, encoded.mean_BCHW)
    expected = pixels if num_channels == 3 else pixels.mean(1, keepdim=True).repeat(1, 3, 1, 1)
    torch.testing.assert_close(back, expected)
    (picture,) = draw(bundle, [Request("", 1, num_steps=2)])
    assert (picture.mode, picture.size) == ({1: "L", 3: "RGB"}[num_channels], (16, 16))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"in_channels": 4, "out_channels": 4}, "have 4 channels"),
        ({"sample_size": (16, 32)}, "only squares can be trained"),
        ({"class_embed_type": "timestep"}, "its classes are given as timestep"),
    ],
)
def test_what_cannot_be_trained_is_refused_when_it_is_loaded(saved, config, why):
    with pytest.raises(BadBase, match=why):
        ddpm.load(saved(**config))


def test_few_steps_need_another_scheduler_than_the_training_had(saved):
    bundle = ddpm.load(saved(DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", variance_type="fixed_large")))
    assert isinstance(bundle.pipeline.scheduler, DDIMScheduler)
    assert (bundle.objective.prediction, bundle.objective.process.num_steps) == ("v_prediction", 1000)
    expected = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    torch.testing.assert_close(bundle.objective.process.alphas_cumprod, expected)
    torch.testing.assert_close(torch.as_tensor(bundle.pipeline.scheduler.alphas_cumprod), expected)


def test_a_network_that_says_its_variance_keeps_its_steps(saved):
    bundle = ddpm.load(saved(DDPMScheduler(variance_type="learned_range"), out_channels=6))
    assert isinstance(bundle.pipeline.scheduler, DDPMScheduler)
    x_t = torch.randn(2, 3, 16, 16)
    answer = ddpm.network(bundle, ddpm.encode_prompts(bundle, ["", ""]))(x_t, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(answer, bundle.denoiser(x_t, torch.tensor([499, 499])).sample[:, :3])
    assert len(list(draw(bundle, [Request("", 1, num_steps=2)]))) == 1


def test_pipelines_of_ddim_are_of_the_family_too(saved):
    base = saved(pipeline_class=DDIMPipeline)
    assert (recognise(str(base)).name, recognise(str(base)).told, ddpm.load(base).told) == ("ddpm", "nothing", "nothing")


@pytest.mark.parametrize(("case", "where"), [("ddpm", {"dropout": 0.5}), ("dit", {})])
def test_nothing_is_left_out_at_random(case, where, tiny, saved):
    """Features in a U-Net, labels in a transformer, which drops a tenth of them while it trains."""
    bundle = ddpm.load(saved(**where)) if where else tiny(case)
    bundle.denoiser.train()
    told = family_of(case).encode_prompts(bundle, ["5"] * 40)
    x_t, t = torch.randn(1, *_shape(bundle)).repeat(40, 1, 1, 1), torch.full((40,), 0.5)
    with torch.no_grad():
        answer = family_of(case).network(bundle, told)(x_t, t)
    torch.testing.assert_close(answer, answer[:1].expand_as(answer), rtol=1e-5, atol=1e-5)


def _shape(bundle):
    config = bundle.denoiser.config
    return config.in_channels, config.sample_size, config.sample_size


def test_a_network_without_attention_is_adapted_elsewhere(saved):
    bundle = ddpm.load(saved(**WITHOUT))
    with pytest.raises(BadSetting, match=r"no layer named to_q or to_k or to_v or to_out.0; method.convolutions=true adapts"):
        LoRA(rank=4).check(bundle, ddpm)
    trained = LoRA(rank=4, convolutions=True).attach(bundle, ddpm)
    assert {name.split(".")[-4] for name in trained} == {"conv1", "conv2", "conv_shortcut"}


@pytest.mark.parametrize(("case", "adapted"), [("ddpm", "conv1"), ("ldm", "conv_shortcut"), ("ldm-text", "proj_in"), ("dit", "proj")])
def test_adapters_of_convolutions_are_loaded_by_peft_with_their_scale(case, adapted, tiny, answers, stock, tmp_path):
    bundle, method = tiny(case), LoRA(rank=4, alpha=2, convolutions=True)
    trained = method.attach(bundle, family_of(case))
    assert adapted in {name.split(".")[-4] for name in trained}
    torch.manual_seed(1)
    for parameter in trained.values():
        torch.nn.init.normal_(parameter, std=0.1)
    pipe = stock(method, case, saved=method.save(bundle, tmp_path, facts={}))
    expected = answers(bundle, case)
    torch.testing.assert_close(answers(bundle, case, pipe=pipe), expected, rtol=1e-5, atol=1e-5)
    assert (expected - answers(tiny(case), case)).abs().max() > 1e-3


# ------------------------------------------------------------------------------------------ as large as they are

OF_FIRST_MODELS = {
    "layers_per_block": 2, "attention_head_dim": None, "norm_num_groups": 32, "norm_eps": 1e-6, "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3, "out_channels": 3,
}  # fmt: skip
CIFAR10 = {"sample_size": 32, "block_out_channels": (128, 256, 256, 256), **OF_FIRST_MODELS}
BEDROOM = {"sample_size": 256, "block_out_channels": (128, 128, 256, 256, 512, 512), **OF_FIRST_MODELS}


def unet_with_attention_at(place, config):
    """Of the published configurations, which have it at one resolution and in the middle."""
    down = ["DownBlock2D"] * len(config["block_out_channels"])
    down[place] = "AttnDownBlock2D"
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return UNet2DModel(**config, down_block_types=tuple(down), up_block_types=tuple(up))


@pytest.mark.parametrize(("config", "place", "channels", "millions"), [(CIFAR10, 1, 256, 35.7), (BEDROOM, 4, 512, 113.7)])
def test_published_unets(config, place, channels, millions):
    """35.7 and 114 million parameters (Ho et al. 2020, appendix B). Attention: two layers down, one in the middle, three up."""
    with torch.device("meta"):
        unet = unet_with_attention_at(place, config)
        bundle = ddpm._bundle(DDPMPipeline(unet=unet, scheduler=DDPMScheduler()))
        num = sum(p.numel() for p in unet.parameters())
        trained = LoRA(rank=16).attach(bundle, ddpm)
    assert round(num / 1e6, 1) == millions
    assert (bundle.resolution_px, bundle.width) == (config["sample_size"], config["block_out_channels"][-1])
    assert len(trained) == 2 * (2 + 1 + 3) * 4
    assert sum(p.numel() for p in trained.values()) == (2 + 1 + 3) * 4 * 16 * (channels + channels)


def test_the_published_transformer():
    """DiT-XL/2: 675,129,632 parameters (Peebles & Xie 2023), of which 256 x 1152 are fixed places; in diffusers each of its 28 blocks
    has embeddings of time and class of its own."""
    width, embeddings = 1152, (256 * 1152 + 1152) + (1152 * 1152 + 1152) + 1001 * 1152
    with torch.device("meta"):
        transformer = DiTTransformer2DModel(out_channels=8, num_embeds_ada_norm=1000)
        num = sum(p.numel() for p in transformer.parameters())
    assert num == 675_129_632 - 256 * width + 27 * embeddings
    shapes = {name: tuple(p.shape) for name, p in transformer.named_parameters()}
    assert LoRA(rank=16).num_trained({"transformer": shapes}, dit) == 28 * 4 * 16 * (width + width)
    with torch.device("meta"):
        bundle = dit.tiny()
        pipeline = DiTPipeline(transformer=transformer, vae=bundle.autoencoder, scheduler=DDIMScheduler())
        trained = LoRA(rank=16).attach(dit._bundle(pipeline, named={}), dit)
    assert (len(trained), sum(p.numel() for p in trained.values())) == (2 * 28 * 4, 28 * 4 * 16 * 2 * width)


def test_a_transformer_of_other_classes_is_refused():
    bundle = dit.tiny()
    bundle.denoiser.register_to_config(num_embeds_ada_norm=10)
    with pytest.raises(BadBase, match="knows 10 classes"):
        dit._bundle(bundle.pipeline, named={})


def test_a_damaged_config_is_its_loaders_business(saved):
    base = saved(num_class_embeds=3)
    assert recognise(str(base)).told == "classes"
    (base / "unet" / "config.json").write_text("{")
    assert recognise(str(base)).told == "nothing"
    (base / "unet" / "config.json").write_text(json.dumps([]))
    with pytest.raises(BadBase):
        ddpm.load(base)
