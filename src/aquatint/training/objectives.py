"""The run's objective: the family's, as the checkpoint declares it, with what the settings say otherwise."""

from dataclasses import fields, is_dataclass, replace
from inspect import signature
from typing import Any

import torch

from aquatint.core.distances import distance_of
from aquatint.core.family import Bundle
from aquatint.core.objective import Objective
from aquatint.core.process import NoiseProcess, RectifiedFlow, VariancePreserving
from aquatint.core.times import TIMES, OnGrid, TimeSampler, Uniform, UniformSteps
from aquatint.core.weightings import OF_SNR, WeightingKind, weighting_of
from aquatint.errors import BadSetting
from aquatint.training.settings import DELTA, GAMMA, Loss

STOCK = "DDIMScheduler"
"""Draws with zero terminal SNR where the base's own scheduler cannot."""
ZERO_TERMINAL = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
"""As diffusers' schedulers call it, and that drawing begins at the last step (Lin et al. 2023, section 3.3)."""


def apply(bundle: Bundle, loss: Loss) -> Bundle:
    """Raises `BadSetting` for what means nothing for this base."""
    if loss.zero_terminal_snr:
        end_in_noise(bundle)
    own = bundle.objective
    bundle.objective = replace(
        own, time=times_of(loss, own.time, process=own.process), weighting=weighting_of(weighting_kind(loss, own), gamma_of(loss)),
        distance=distance_of(loss.kind, loss.delta or DELTA), noise_offset=loss.noise_offset,
    )  # fmt: skip
    return bundle


def weighting_kind(loss: Loss, own: Objective) -> WeightingKind:
    """Raises `BadSetting` for a weighting that is not defined here."""
    kind = loss.weighting or _unnamed(loss, own.process)
    if kind in OF_SNR and isinstance(own.process, RectifiedFlow):
        why = "on straight lines from picture to noise it is the times that weight the error"
        raise BadSetting(f"{_name(loss)}: {why}; use loss.weighting=even or bell, or another loss.times")
    if not bool(torch.isfinite(weighting_of(kind, gamma_of(loss))(own.process, own.prediction, t=torch.ones(1))).all()):
        why = "this base predicts the noise, and at the end of it there is no picture left to weight by"
        raise BadSetting(f"{_name(loss)}: {why}; use loss.weighting=even")
    return kind


def _unnamed(loss: Loss, process: NoiseProcess) -> WeightingKind:
    """Where no picture is left at the end, min-SNR would leave out what that is for."""
    fits = isinstance(process, VariancePreserving) and not process.ends_in_noise
    is_asked = fits if loss.min_snr_gamma == "auto" else loss.min_snr_gamma is not None
    return "min_snr" if is_asked else "even"


def gamma_of(loss: Loss) -> float:
    return loss.min_snr_gamma if isinstance(loss.min_snr_gamma, float) else GAMMA


def settled(loss: Loss, objective: Objective) -> Loss:
    """With what was chosen written out. `objective` is the run's."""
    if loss.min_snr_gamma != "auto":
        return loss
    has_gamma = hasattr(objective.weighting, "gamma")
    return loss.model_copy(update={"min_snr_gamma": GAMMA if has_gamma else None})


def times_of(loss: Loss, own: TimeSampler, *, process: NoiseProcess) -> TimeSampler:
    """The family's distribution with what is named of another. Raises `BadSetting` for a number that it does not have."""
    given: dict[str, Any] = {name: value for name in ("mean", "std", "mode_scale", "shift") if (value := getattr(loss, name)) is not None}
    if loss.times is None and not given:
        return own
    before = Uniform() if isinstance(own, UniformSteps) else own.times if isinstance(own, OnGrid) else own
    kind: Any = TIMES[loss.times] if loss.times else type(before)
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    if unknown := [name for name in given if name not in known]:
        raise BadSetting(f"loss.{unknown[0]}: this base's times have no such number; name others too, such as loss.times=logit_normal")
    kept = {"shift": getattr(before, "shift", 1.0)} if kind is not type(before) else vars(before)
    chosen: TimeSampler = kind(**{**kept, **given})
    return OnGrid(chosen, process.num_steps) if isinstance(process, VariancePreserving) else chosen


def end_in_noise(bundle: Bundle) -> None:
    """Zero terminal SNR, in the objective and in the pipeline's scheduler. Raises `BadSetting` where it means nothing."""
    process, setting = bundle.objective.process, "loss.zero_terminal_snr"
    if not isinstance(process, VariancePreserving):
        raise BadSetting(f"{setting}: this base's pictures become pure noise already; leave it out")
    if bundle.objective.prediction == "epsilon":
        why = "this base predicts the noise, which says nothing of the picture where there is noise alone"
        raise BadSetting(f"{setting}: {why}; it needs a base that predicts v")
    bundle.objective = replace(bundle.objective, process=process.ending_in_noise())
    old = bundle.pipeline.scheduler
    bundle.pipeline.scheduler = _able(old).from_config(old.config, **ZERO_TERMINAL)


def scheduler_lines(bundle: Bundle) -> list[str]:
    """Python that gives a stock pipeline the scheduler of this one."""
    name, options = type(bundle.pipeline.scheduler).__name__, ", ".join(f"{name}={value!r}" for name, value in ZERO_TERMINAL.items())
    return [f"from diffusers import {name}", f"pipe.scheduler = {name}.from_config(pipe.scheduler.config, {options})"]


def _able(scheduler: Any) -> Any:
    """Its class, or a compatible one that knows zero terminal SNR."""
    if "rescale_betas_zero_snr" in signature(type(scheduler).__init__).parameters:
        return type(scheduler)
    return next(each for each in scheduler.compatibles if each.__name__ == STOCK)


def _name(loss: Loss) -> str:
    return f"loss.weighting={loss.weighting}" if loss.weighting else f"loss.min_snr_gamma={loss.min_snr_gamma}"
