"""What a run does when the user says nothing, derived from the number of pictures and the method, each with its reason."""

import math
from dataclasses import dataclass

from aquatint.data.plan import derived_repeats

STANDARD_WIDTH = 1280
"""Widest layer of Stable Diffusion's U-Net, for which the methods state their learning rates."""
FULL_SIDE_PX = 512
"""Pictures of this side are trained one at a time, smaller ones up to eight together."""
SHOWN_EACH, LEAST_SHOWN = 100, 2500
"""How often a picture is shown in a run, and how many are shown at least: below, a subject is not yet learned."""
LARGEST_LR = 5e-3
"""No method is stable beyond, however narrow the model."""


@dataclass(frozen=True)
class Derived:
    steps: int
    batch_size: int
    lr: float
    repeats: int
    warmup_steps: int
    reasons: tuple[str, ...]
    """One line for each value that was not given."""


Given = tuple[int | None, int | None, float | None]
"""The user's steps, batch size and learning rate."""


def derive(num_pictures: int, *, given: Given, standard_lr: float, width: int, resolution_px: int, num_parts: int) -> Derived:
    """`width` is the denoiser's widest layer; `num_parts` is processes times accumulation."""
    given_steps, given_batch, given_lr = given
    reasons: list[str] = []
    most = max(1, min(8, FULL_SIDE_PX**2 // resolution_px**2))
    batch_size = given_batch or max(1, most // num_parts)
    if given_batch is None:
        reasons.append(f"batch_size={batch_size}: what most devices hold at {resolution_px} px")
    global_batch = batch_size * num_parts
    steps = given_steps or math.ceil(max(LEAST_SHOWN, SHOWN_EACH * num_pictures) / global_batch)
    if given_steps is None:
        reasons.append(f"steps={steps}: {num_pictures} pictures, seen {steps * global_batch / num_pictures:.0f} times each")
    lr = given_lr or min(LARGEST_LR, float(f"{standard_lr * max(1.0, STANDARD_WIDTH / width):.1e}"))
    if given_lr is None:
        why = f"{standard_lr:g} at width {STANDARD_WIDTH}; this model's is {width}, and a narrower one takes more (Yang et al. 2022)"
        reasons.append(f"lr={lr:g}: {why}")
    repeats = derived_repeats(num_pictures, global_batch)
    return Derived(steps, batch_size, lr, repeats, steps // 20, tuple(reasons))
