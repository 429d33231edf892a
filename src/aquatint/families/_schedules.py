"""From a checkpoint's scheduler to the objective that it was trained by."""

from typing import Any

import torch

from aquatint.core.objective import Objective
from aquatint.core.process import PREDICTIONS, RectifiedFlow, VariancePreserving
from aquatint.core.times import LogitNormal, UniformSteps
from aquatint.errors import BadBase


def variance_preserving(scheduler: Any) -> Objective:
    """Noise levels and prediction of any diffusers scheduler with `alphas_cumprod`. Raises `BadBase` for another, or another prediction."""
    if not hasattr(scheduler, "alphas_cumprod"):
        raise BadBase(f"the scheduler is a {type(scheduler).__name__}, which does not tell the noise levels of training (alphas_cumprod)")
    process = VariancePreserving(torch.as_tensor(scheduler.alphas_cumprod).float())
    prediction = scheduler.config.prediction_type
    if prediction not in PREDICTIONS:
        raise BadBase(f"the scheduler's prediction_type {prediction!r} is not one of {', '.join(PREDICTIONS)}")
    return Objective(process, prediction, UniformSteps(process.num_steps))


def flow(scheduler: Any) -> Objective:
    """Straight lines, with more of the middle times (Esser et al. 2024, section 3.1), moved to noise as the scheduler draws.

    A shift that follows the size of each picture is one of drawing alone: such a base is trained without, as by diffusers' scripts.
    """
    config = scheduler.config
    shift = 1.0 if config.get("use_dynamic_shifting") else config.get("shift", 1.0)
    return Objective(RectifiedFlow(), "flow_prediction", LogitNormal(shift=shift))


def draw_in_few_steps(pipeline: Any) -> None:
    """Deterministic steps (DDIM, Song et al. 2021) in place of ancestral ones, which need nearly all of the training's thousand.

    Nothing changes where the network predicts the variance too: only the ancestral steps know what to do with that.
    """
    from diffusers import DDIMScheduler, DDPMScheduler

    config = pipeline.unet.config
    if isinstance(pipeline.scheduler, DDPMScheduler) and config.out_channels == config.in_channels:
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
