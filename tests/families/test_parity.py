"""What is trained is what diffusers' scripts train and what its pipelines ask: losses by hand, and the networks' inputs overheard."""

from copy import copy
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch.nn.functional import mse_loss

from aquatint.core.request import Request
from aquatint.families import flux
from aquatint.generation.drawing import draw_latents
from aquatint.registry import families

PROMPTS = ["a disc", "two red foxes"]
TIMES = torch.tensor([0.123, 0.871])  # whole steps of 1000


@pytest.fixture(params=["flux", "sd", "sd3", "sdxl"])
def name(request):
    return request.param


def draws(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X_0, EPS = draws(1, (2, 4, 8, 12)), draws(2, (2, 4, 8, 12))


def each(output, target):
    return mse_loss(output, target, reduction="none").mean((1, 2, 3))


def by_steps(pipe, network):
    """As the scripts for U-Nets train: a step of the scheduler's table, its noise, its target."""
    scheduler, steps = DDPMScheduler.from_config(pipe.scheduler.config), (TIMES * 1000).round().long() - 1
    target = EPS if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(X_0, EPS, steps)
    return each(network(scheduler.add_noise(X_0, EPS, steps), steps), target)


def sd_by_hand(pipe):
    told, _ = pipe.encode_prompt(PROMPTS, "cpu", 1, False)
    return by_steps(pipe, lambda noisy, steps: pipe.unet(noisy, steps, told).sample)


def sdxl_by_hand(pipe):
    told, _, pooled, _ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    sizes = torch.tensor([[16.0, 24, 0, 0, 16, 24]] * 2)
    added = {"text_embeds": pooled, "time_ids": sizes}
    return by_steps(pipe, lambda noisy, steps: pipe.unet(noisy, steps, told, added_cond_kwargs=added).sample)


def sd3_by_hand(pipe):
    told, _, pooled, _ = pipe.encode_prompt(PROMPTS, None, None, do_classifier_free_guidance=False, max_sequence_length=32)
    sigmas = TIMES[:, None, None, None]
    noisy = (1.0 - sigmas) * X_0 + sigmas * EPS
    output = pipe.transformer(noisy, timestep=TIMES * 1000, encoder_hidden_states=told, pooled_projections=pooled).sample
    return each(output, EPS - X_0)


def flux_by_hand(pipe):
    told, pooled, text_ids = pipe.encode_prompt(PROMPTS, max_sequence_length=32)
    sigmas = TIMES[:, None, None, None]
    noisy = (1.0 - sigmas) * X_0 + sigmas * EPS
    packed = FluxPipeline._pack_latents(noisy, 2, 4, 8, 12)
    ids = FluxPipeline._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32)
    guidance = torch.ones(2) if pipe.transformer.config.guidance_embeds else None
    output = pipe.transformer(
        hidden_states=packed, timestep=TIMES, guidance=guidance, pooled_projections=pooled, encoder_hidden_states=told,
        txt_ids=text_ids, img_ids=ids,
    ).sample  # fmt: skip
    return each(FluxPipeline._unpack_latents(output, 16, 24, 2), EPS - X_0)


BY_HAND = {"sd": sd_by_hand, "sdxl": sdxl_by_hand, "sd3": sd3_by_hand, "flux": flux_by_hand}


def ours(bundle):
    told = bundle.family.encode_prompts(bundle, PROMPTS)
    lesson = bundle.objective.lesson_at(X_0, eps=EPS, t=TIMES)
    return bundle.objective.losses(bundle.family.network(bundle, told), lesson)


def test_the_loss_is_that_of_the_scripts(name, miniature):
    bundle = miniature(name)
    with torch.no_grad():
        found, expected = ours(bundle), BY_HAND[name](bundle.pipeline)
    assert (expected > 0.1).all()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_prediction_is_read_from_the_scheduler(miniature):
    bundle = miniature("sdxl")
    scheduler = DDPMScheduler.from_config(bundle.pipeline.scheduler.config, prediction_type="v_prediction")
    parts = {**bundle.pipeline.components, "scheduler": scheduler}
    velocity = families["sdxl"]._bundle(type(bundle.pipeline)(**parts))
    assert (bundle.objective.prediction, velocity.objective.prediction) == ("epsilon", "v_prediction")
    with torch.no_grad():
        torch.testing.assert_close(ours(velocity), sdxl_by_hand(velocity.pipeline), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(ours(velocity), ours(bundle))


@pytest.mark.parametrize(("name", "how"), [("sd3", {}), ("sd3", {"shift": 1.0}), ("flux", {}), ("flux", {"use_dynamic_shifting": False})])
def test_times_of_straight_lines_are_drawn_from_the_scheduler_s_table(name, how, miniature):
    """Diffusers' scripts take the logit-normal share of the way down the table of the scheduler as it was loaded."""
    parts = miniature(name).pipeline.components
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(parts["scheduler"].config, **how)
    bundle = families[name]._bundle(type(miniature(name).pipeline)(**{**parts, "scheduler": scheduler}))
    u = torch.linspace(0.001, 0.999, 999)
    share = torch.sigmoid(torch.special.ndtri(1 - u))
    table = scheduler.sigmas[(share * scheduler.config.num_train_timesteps).long()]
    torch.testing.assert_close(bundle.objective.time(u), table, rtol=0, atol=3.1e-3)  # a step of the table, where it is steepest


def test_the_network_is_asked_as_the_pipeline_asks(name, miniature, heard):
    """In one step of the stock pipeline with guidance; the empty prompt is what it subtracts."""
    bundle, prompts = miniature(name), ["a disc"] if name == "flux" else ["", "a disc"]
    request = Request("a disc", 3, num_steps=1, scale=flux.GUIDANCE if name == "flux" else 5.0, width_px=32, height_px=16)
    (theirs,) = heard(bundle.denoiser, lambda: draw_latents(bundle, [request]))
    x_t = theirs["sample" if name in ("sd", "sdxl") else "hidden_states"]
    x_t = FluxPipeline._unpack_latents(x_t, 16, 32, 2) if name == "flux" else x_t
    time = theirs["timestep"].float().expand(len(prompts))
    t = {"flux": time, "sd3": time / 1000}.get(name, (time + 1) / 1000)
    with torch.no_grad():
        told = bundle.family.encode_prompts(bundle, prompts)
    (found,) = heard(bundle.denoiser, lambda: bundle.family.network(bundle, told)(x_t, t))
    theirs, found = (tensors(given) for given in (theirs, found))
    assert len(found) >= {"sd": 3, "sdxl": 5, "sd3": 4, "flux": 7}[name]
    assert found.keys() == theirs.keys()
    for part, value in found.items():
        torch.testing.assert_close(value, theirs[part].expand(value.shape).to(value), msg=lambda text, part=part: f"{part}: {text}")


def tensors(given):
    """The tensors among arguments, those in dictionaries too."""
    inner = {f"{name}.{key}": value for name, part in given.items() if isinstance(part, dict) for key, value in part.items()}
    return {name: value for name, value in {**given, **inner}.items() if isinstance(value, torch.Tensor)}


@pytest.fixture
def schnell(miniature):
    """FLUX without a scale to be told."""
    parts, config = miniature("flux").pipeline.components, miniature("flux").denoiser.config
    torch.manual_seed(1)
    transformer = FluxTransformer2DModel.from_config({**config, "guidance_embeds": False})
    return flux._bundle(FluxPipeline(**{**parts, "transformer": transformer})).freeze()


def test_schnell_is_told_no_scale(schnell, heard):
    assert not hasattr(schnell.denoiser.time_text_embed, "guidance_embedder")
    with torch.no_grad():
        torch.testing.assert_close(ours(schnell), flux_by_hand(schnell.pipeline), rtol=1e-5, atol=1e-6)
    low, high = (draw_latents(schnell, [Request("a disc", 3, num_steps=2, scale=scale)]) for scale in (1.0, 7.0))
    assert torch.equal(low, high)


def test_flux_is_told_the_scale_or_subtracts_by_it(miniature, heard):
    bundle, request = miniature("flux"), Request("a disc", 3, num_steps=1, scale=4.0)
    (told,) = heard(bundle.denoiser, lambda: draw_latents(bundle, [request]))
    both = heard(bundle.denoiser, lambda: draw_latents(bundle, [replace(request, negative="grey")]))
    assert told["guidance"].tolist() == [4.0]
    assert [one["guidance"].tolist() for one in both] == [[flux.GUIDANCE]] * 2
    assert not torch.equal(both[0]["encoder_hidden_states"], both[1]["encoder_hidden_states"])
    torch.testing.assert_close(both[0]["encoder_hidden_states"], told["encoder_hidden_states"])


def test_dev_reads_twice_as_much_as_schnell(miniature, schnell):
    for bundle, expected in ((miniature("flux"), 512), (schnell, 256)):
        long = copy(bundle.pipeline.tokenizer_2)
        long.model_max_length = 1000
        assert flux._num_t5_tokens(FluxPipeline(**{**bundle.pipeline.components, "tokenizer_2": long})) == expected
