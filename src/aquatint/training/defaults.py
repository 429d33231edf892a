"""What a run does when the user says nothing, derived from the number of pictures and the method, each with its reason."""

import math
from dataclasses import dataclass

from aquatint.data.plan import derived_repeats

STANDARD_WIDTH = 1280
"""Widest layer of Stable Diffusion's U-Net, for which the methods state their learning rates."""
FULL_SIDE_PX = 512
"""Pictures of this side are trained one at a time, smaller ones up to eight together."""
SHOWN_EACH, LEAST_SHOWN = 100, 2400
"""How often a picture is shown in a run, and how many pass the network at least: below, a subject is not yet learned."""
NUM_PRIOR, FEW_PICTURES = 64, 100
"""Pictures of the base's own for a run that teaches a word, if it has no more pictures than that."""
NUM_CLASS = 100
"""Pictures of a class that the user names."""
LARGEST_LR = 5e-3
"""No method is stable beyond, however narrow the model."""


@dataclass(frozen=True)
class Derived:
    steps: int
    batch_size: int
    lr: float
    repeats: int
    warmup_steps: int
    num_prior: int
    reasons: tuple[str, ...]
    """One line for each value that was not given."""


@dataclass(frozen=True)
class Given:
    """What the user said, None where nothing."""

    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    num_prior: int | None = None
    trigger: str | None = None
    has_class: bool = False
    """Whether pictures of a class are to be kept."""


def derive(
    num_pictures: int, *, given: Given, standard_lr: float, width: int, width_power: float, resolution_px: int, num_parts: int
) -> Derived:
    """`width` is the denoiser's widest layer; `num_parts` is processes times accumulation."""
    reasons: list[str] = []
    num_prior = given.num_prior
    if num_prior is None:
        few = NUM_PRIOR if given.trigger and num_pictures <= FEW_PICTURES else 0
        num_prior = NUM_CLASS if given.has_class else few
    if num_prior and given.num_prior is None:
        why = f"{num_pictures} pictures teach a word, and the rest shall stay as the base draws it"
        why = "of the class, drawn once by the base and kept" if given.has_class else why
        reasons.append(f"prior.num={num_prior}: {why} (prior.num=0 to do without)")
    passes = 2 if num_prior else 1  # a step has as many of the prior's pictures as of the user's
    most = max(1, min(8, FULL_SIDE_PX**2 // resolution_px**2) // passes)
    batch_size = given.batch_size or max(1, most // num_parts)
    if given.batch_size is None:
        beside = ", with as many of the prior" if num_prior else ""
        reasons.append(f"batch_size={batch_size}: what most devices hold at {resolution_px} px{beside}")
    global_batch = batch_size * num_parts
    steps = given.steps or math.ceil(max(LEAST_SHOWN, SHOWN_EACH * num_pictures) / (global_batch * passes))
    if given.steps is None:
        reasons.append(f"steps={steps}: {num_pictures} pictures, seen {steps * global_batch / num_pictures:.0f} times each")
    lr = given.lr or _lr(standard_lr, width=width, power=width_power)
    if given.lr is None:
        scaled = f"{standard_lr:g} at width {STANDARD_WIDTH}; this model's is {width}, and a narrower one takes more (Yang et al. 2022)"
        reasons.append(f"lr={lr:g}: {scaled if width_power else 'the same for every base'}")
    repeats = derived_repeats(num_pictures, global_batch)
    return Derived(steps, batch_size, lr, repeats, steps // 20, num_prior, tuple(reasons))


def _lr(standard: float, *, width: int, power: float) -> float:
    return min(LARGEST_LR, float(f"{standard * max(1.0, STANDARD_WIDTH / width) ** power:.1e}")) if power else standard
