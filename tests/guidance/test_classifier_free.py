"""Classifier-free guidance with all its settings draws what the stock pipeline draws with them."""

import numpy as np
import pytest
import torch

from aquatint.core.request import Request
from aquatint.errors import BadSetting
from aquatint.families import ddpm, sd
from aquatint.generation.sampling import draw_steered
from aquatint.guidance.base import Guidance

STEPS, SCALE = 6, 60.0


def stock(bundle, seeds, **how) -> list[np.ndarray]:
    pipeline = bundle.pipeline
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    asked = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "generator": generators, "output_type": "np"}
    with torch.no_grad():
        drawn = pipeline(["a cat"] * len(seeds), height=bundle.resolution_px, width=bundle.resolution_px, **asked, **how)
    return list((drawn.images * 255).round().astype(int))


def ours(bundle, seeds, **settings) -> list[np.ndarray]:
    guidance = Guidance.resolve({"kind": "classifier_free", "scale": SCALE, **settings})
    requests = [Request("a cat", seed, num_steps=STEPS) for seed in seeds]
    return [np.asarray(picture, dtype=int) for picture in draw_steered(bundle, requests, batch_size=len(seeds), guidances=[guidance])]


def gap(a, b) -> int:
    return max(int(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    return sd.tiny().freeze()


@pytest.mark.parametrize("rescale", [0.3, 0.7, 1.0])
def test_rescale_is_diffusers_guidance_rescale(bundle, rescale):
    plain, rescaled = stock(bundle, (3, 4)), stock(bundle, (3, 4), guidance_rescale=rescale)
    assert gap(plain, rescaled) > 5, "it must make a difference"
    assert gap(rescaled, ours(bundle, (3, 4), rescale=rescale)) <= 1


def test_an_interval_ends_as_in_diffusers_recipe(bundle):
    """Its documented way to guide the first steps alone, here one: a callback that drops the half without a prompt."""

    def callback(pipeline, step, *rest):
        tensors = rest[-1]
        if step == 0:
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
            pipeline._guidance_scale = 0.0
        return tensors

    theirs = stock(bundle, (3,), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    assert gap(stock(bundle, (3,)), theirs) > 5, "it must make a difference"
    bundle.pipeline.scheduler.set_timesteps(STEPS)
    levels = bundle.objective.process.time(bundle.pipeline.scheduler.timesteps.float())
    assert gap(theirs, ours(bundle, (3,), stop=float(levels[:2].mean()))) <= 1


def test_before_an_interval_the_prompt_alone_is_asked(bundle):
    alone, late = ours(bundle, (3,), scale=1.0), ours(bundle, (3,), start=1e-6)
    assert gap(alone, late) <= 1


def test_a_base_that_says_nothing_without_a_prompt_is_told_so():
    torch.manual_seed(0)
    with pytest.raises(BadSetting, match="classifier_free"):
        list(draw_steered(ddpm.tiny("nothing").freeze(), [Request("", 1, num_steps=1)], guidances=[Guidance.resolve("classifier_free")]))
