"""From a checkpoint's scheduler to the objective that it was trained by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from aquatint.core.objective import Objective
from aquatint.core.process import PREDICTIONS, RectifiedFlow, VariancePreserving
from aquatint.core.times import LogitNormal, UniformSteps
from aquatint.errors import BadBase

if TYPE_CHECKING:
    from aquatint.core.family import Bundle


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


def set_steps(bundle: Bundle, num_steps: int, *, shape: tuple[int, ...]) -> None:
    """Of schedulers that ask for nothing but the number."""
    bundle.pipeline.scheduler.set_timesteps(num_steps, device=bundle.device)


def set_flow_steps(bundle: Bundle, num_steps: int, *, shape: tuple[int, ...], patch: int, is_even: bool) -> None:
    """With more noise for larger pictures, where the scheduler says so (Esser et al. 2024, section 5.3.2).

    `is_even`: levels from pure noise down in equal steps, as FLUX is drawn; else those that the scheduler chooses.
    """
    scheduler = bundle.pipeline.scheduler
    config, how = scheduler.config, dict[str, Any]()
    if config.get("use_dynamic_shifting"):
        how["mu"] = _shift_of(shape[-2] // patch * (shape[-1] // patch), config)
    if is_even and not config.get("use_flow_sigmas"):
        how["sigmas"] = torch.linspace(1.0, 1.0 / num_steps, num_steps).tolist()
        scheduler.set_timesteps(device=bundle.device, **how)
    else:
        scheduler.set_timesteps(num_steps, device=bundle.device, **how)


def _shift_of(num_patches: int, config: Any) -> float:
    """The logarithm of the shift: a straight line through the two sizes that the scheduler names."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(least + (most - least) * (num_patches - few) / (many - few))
