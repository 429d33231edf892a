"""Families without words against diffusers: a training step by hand, what stock pipelines feed the network, and what they draw."""

from typing import Any

import numpy as np
import pytest
import torch
from cases import CASES, prompts_of
from diffusers import DDPMScheduler
from torch.nn import functional

from aquatint.core.randomness import SampleRandom
from aquatint.core.request import Request
from aquatint.generation.drawing import draw, draw_latents
from aquatint.recognition import recognise

WORDLESS = ("ddpm", "ddpm-classes", "dit", "ldm", "ldm-text")
LATENT = ("dit", "ldm", "ldm-text")
each = pytest.mark.parametrize("case", WORDLESS)


def pixels(bundle, num):
    side = bundle.resolution_px
    return torch.rand(num, 3, side, side, generator=torch.Generator().manual_seed(4)) * 2 - 1


def requests(bundle, num, *, scale=5.0, num_steps=3):
    prompts = [""] * num if bundle.told == "nothing" else prompts_of(bundle, num)
    return [Request(prompt, seed, num_steps=num_steps, scale=scale) for seed, prompt in enumerate(prompts)]


@pytest.fixture
def heard():
    """(bundle) -> what its denoiser is asked and answers from now on: (x_t, time, what it is told, answer)."""

    def listen(bundle) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []

        def note(_, *call):
            args, named, answer = call
            named = {name: value for name, value in named.items() if name != "return_dict"}
            x_t, *time = [*args, *([named.pop("timestep")] if "timestep" in named else [])]
            calls.append((x_t, time[0], named, answer[0]))

        bundle.denoiser.register_forward_hook(note, with_kwargs=True)
        return calls

    return listen


def test_every_family_of_this_file_is_there():
    assert set(WORDLESS) <= set(CASES)


@each
def test_a_base_says_what_it_is_and_what_it_is_told(case, tiny, base_folder):
    found, bundle = recognise(str(base_folder(case))), tiny(case)
    assert (found.name, found.told) == CASES[case] == (bundle.family.__name__.rpartition(".")[2], bundle.told)
    loaded = found.family.load(base_folder(case))
    assert (loaded.told, loaded.labels, loaded.resolution_px, loaded.is_framed) == (
        bundle.told, bundle.labels, bundle.resolution_px, bundle.is_framed,
    )  # fmt: skip


@each
def test_the_loss_is_that_of_a_training_step_by_hand(case, tiny):
    bundle = tiny(case)
    family, prompts = bundle.family, prompts_of(bundle, 4)
    with torch.no_grad():
        x_0 = family.encode_images(bundle, pixels(bundle, 4)).mean_BCHW
        told = family.encode_prompts(bundle, prompts)
        random = SampleRandom(3, 8, range(4))
        ours = bundle.objective.losses(family.network(bundle, told), bundle.objective.lesson(x_0, random=random))
        eps = random.normal("noise", x_0.shape[1:])
        steps = (random.uniform("time") * 1000).floor().long()
        noisy = DDPMScheduler.from_config(bundle.pipeline.scheduler.config).add_noise(x_0, eps, steps)
        how = {"class_labels": told["class_labels"]} if bundle.told == "classes" else {}
        how |= {"encoder_hidden_states": told["encoder_hidden_states"]} if bundle.told == "text" else {}
        answer = bundle.denoiser(noisy, steps, **how).sample[:, : x_0.shape[1]]
        theirs = functional.mse_loss(answer, eps, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@each
def test_the_network_is_asked_as_the_stock_pipeline_asks_it(case, tiny, heard):
    bundle = tiny(case)
    wanted, calls = requests(bundle, 2), heard(bundle)
    list(draw(bundle, wanted, batch_size=2))
    assert len(calls) == 3
    family, prompts = bundle.family, [request.prompt for request in wanted]
    guided = {"dit": [*prompts, "", ""], "ldm-text": ["", "", *prompts]}.get(case, prompts)
    told = family.encode_prompts(bundle, guided)
    for x_t, step, _, theirs in calls[:3]:
        t = (step.reshape(-1)[:1] + 1).expand(len(x_t)) / bundle.objective.process.num_steps
        with torch.no_grad():
            ours = family.network(bundle, told)(x_t, t)
        torch.testing.assert_close(ours, theirs[:, : x_t.shape[1]], rtol=1e-5, atol=1e-6)
    for name, value in calls[0][2].items():
        torch.testing.assert_close(told[name], value)
    assert calls[0][2].keys() == told.keys()


@pytest.mark.parametrize(("case", "is_ancestral"), [*((case, False) for case in WORDLESS), ("ddpm", True), ("ddpm-classes", True)])
def test_one_seed_is_one_picture_whatever_the_batch(case, is_ancestral, tiny):
    """Ancestral steps draw noise, by the generator of each picture; stock pipelines of the other families give them none."""
    bundle = tiny(case)
    if is_ancestral:
        bundle.pipeline.scheduler = DDPMScheduler.from_config(bundle.pipeline.scheduler.config)
    wanted = requests(bundle, 3)
    together = [np.asarray(picture, dtype=int) for picture in draw(bundle, wanted, batch_size=3)]
    alone = [np.asarray(picture, dtype=int) for request in wanted for picture in draw(bundle, [request])]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(together, alone, strict=True))
    assert np.abs(together[0] - together[1]).max() > 8
    assert together[0].shape == (bundle.resolution_px, bundle.resolution_px, 3)


@each
def test_half_precision_draws_too(case, tiny):
    bundle = tiny(case)
    whole, half = (np.asarray(next(draw(bundle, requests(bundle, 1), precision=dtype)), float) for dtype in (torch.float32, torch.bfloat16))
    assert 0 < np.abs(whole - half).mean() < 8


@pytest.mark.parametrize("case", LATENT)
def test_latents_are_decoded_as_the_stock_pipeline_decodes_them(case, tiny, monkeypatch):
    bundle = tiny(case)
    seen, whole = [], bundle.autoencoder.decode
    monkeypatch.setattr(bundle.autoencoder, "decode", lambda latents, **how: seen.append(latents) or whole(latents, **how))
    (picture,) = draw(bundle, requests(bundle, 1))
    (units,) = seen
    with torch.no_grad():
        ours = bundle.family.decode_latents(bundle, units * bundle.autoencoder.config.scaling_factor)
    shown = ((ours[0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert np.abs(shown - np.asarray(picture, dtype=float)).max() <= 1


@pytest.mark.parametrize("case", LATENT)
def test_latents_have_the_scale_that_the_pipeline_takes_away(case, tiny):
    bundle, seen = tiny(case), pixels(tiny(case), 2)
    with torch.no_grad():
        encoded = bundle.family.encode_images(bundle, seen)
        stock = bundle.autoencoder.encode(seen)
    mean = stock.latents if case == "ldm" else stock.latent_dist.mean
    torch.testing.assert_close(encoded.mean_BCHW, mean * bundle.autoencoder.config.scaling_factor)
    assert (encoded.std_BCHW.max() == 0) == (case == "ldm")


@each
def test_what_is_drawn_comes_back_in_the_networks_units(case, tiny):
    bundle = tiny(case)
    wanted = requests(bundle, 2)
    shown = torch.from_numpy(np.stack([np.asarray(picture) for picture in draw(bundle, wanted, batch_size=2)]))
    with torch.no_grad():
        expected = bundle.family.encode_images(bundle, shown.permute(0, 3, 1, 2) / 127.5 - 1).mean_BCHW
    torch.testing.assert_close(draw_latents(bundle, wanted), expected, rtol=0.05, atol=0.02)


def test_text_is_cut_where_the_stock_pipeline_cuts_it(tiny):
    bundle = tiny("ldm-text")
    family = bundle.family
    assert family.words(bundle)[:3] == ["!", '"', "#"]
    assert family.cut_off(bundle, "a " * 75) == ""
    assert family.cut_off(bundle, "a " * 75 + "b c") == "b c"
    long, cut = (family.encode_prompts(bundle, [text])["encoder_hidden_states"] for text in ("a " * 80, "a " * 75))
    torch.testing.assert_close(long, cut)
