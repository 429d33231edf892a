"""Step by step, with nothing to steer, the pictures are those of the stock pipeline: every family, every scheduler that serves."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch

from aquatint.core.request import Request
from aquatint.generation.drawing import draw
from aquatint.generation.sampling import Start, draw_steered, walk
from aquatint.registry import families

TOLD = [(name, told) for name in families.names() for told in dict.fromkeys(families[name].PIPELINES.values())]
PROMPTS = {"text": "a cat", "classes": "1", "nothing": ""}
SCHEDULERS = (
    "DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep",
    "UniPCMultistep", "PNDM", "LMSDiscrete", "DEISMultistep", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LCM", "TCD", "SASolver", "IPNDM",
)  # fmt: skip


def tiny(name, told):
    torch.manual_seed(0)
    return families[name].tiny(told).freeze()


def apart(bundle, requests, **how) -> int:
    """The largest difference of a pixel, in 255."""
    stock, ours = (list(drawn) for drawn in (draw(bundle, requests, batch_size=2), draw_steered(bundle, requests, batch_size=2, **how)))
    assert float(np.array(stock[0]).std()) > 10, "one colour would tell nothing"
    pairs = zip(stock, ours, strict=True)
    return max(int(np.abs(np.array(a.convert("RGB"), dtype=int) - np.array(b)).max()) for a, b in pairs)


def test_all_families_are_here():
    assert len(TOLD) == 8


@pytest.mark.parametrize(("name", "told"), TOLD)
def test_every_family_draws_as_its_stock_pipeline(name, told):
    bundle = tiny(name, told)
    scale = {} if told == "nothing" or name == "ddpm" else {"scale": 3.0}
    assert apart(bundle, [Request(PROMPTS[told], seed, num_steps=6, **scale) for seed in (3, 4)]) <= 1


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_a_negative_prompt_is_subtracted(name):
    shared = {"num_steps": 4, "scale": 3.0, "negative": "a dog"}
    assert apart(tiny(name, "text"), [Request("a cat", seed, **shared) for seed in (3, 4)]) <= 1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_draws_as_in_the_stock_pipeline(name, prediction):
    bundle = tiny("sd", "text")
    kind = getattr(diffusers, f"{name}Scheduler")
    bundle.pipeline.scheduler = kind.from_config(bundle.pipeline.scheduler.config, prediction_type=prediction, clip_sample=False)
    bundle.objective = replace(bundle.objective, prediction=prediction)
    assert apart(bundle, [Request("a cat", seed, num_steps=7, scale=3.0) for seed in (3, 4)]) <= 1


@pytest.mark.parametrize(("name", "told"), TOLD)
def test_one_seed_is_one_picture_whatever_the_batch(name, told):
    bundle = tiny(name, told)
    requests = [Request(PROMPTS[told], seed, num_steps=3) for seed in range(3)]
    together = list(draw_steered(bundle, requests, batch_size=3))
    alone = list(draw_steered(bundle, requests))
    assert max(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() for a, b in zip(alone, together, strict=True)) <= 1


def test_every_step_is_shown():
    steps = list(walk(tiny("sd", "text"), [Request("a cat", 1, num_steps=5)]))
    assert [(step.number, step.total) for step in steps] == [(number, 5) for number in range(1, 6)]
    assert all(torch.isfinite(step.x_0_BCHW).all() for step in steps)


@pytest.mark.parametrize("name", ["DDIM", "EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"])
def test_from_a_picture_it_draws_as_the_stock_pipeline_for_that(name):
    bundle = tiny("sd", "text")
    kind = getattr(diffusers, f"{name}Scheduler")
    bundle.pipeline.scheduler = kind.from_config(bundle.pipeline.scheduler.config)
    x_0 = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    parts = {**bundle.pipeline.components, "requires_safety_checker": False}
    stock = diffusers.StableDiffusionImg2ImgPipeline(**parts)
    told = {"prompt": "a cat", "image": x_0, "strength": 0.55, "guidance_scale": 3.0, "num_inference_steps": 8}
    (expected,) = stock(**told, generator=torch.Generator().manual_seed(3)).images
    (ours,) = draw_steered(bundle, [Request("a cat", 3, num_steps=8, scale=3.0)], start=Start(x_0, 0.55))
    assert np.abs(np.array(expected, dtype=int) - np.array(ours, dtype=int)).max() <= 1
