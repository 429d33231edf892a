"""What a run does when the user says nothing, derived from the number of pictures and the method, each with its reason."""

from dataclasses import dataclass

from aquatint.data.plan import derived_repeats

STANDARD_WIDTH = 1280
"""Widest layer of Stable Diffusion's U-Net, for which the methods state their learning rates."""
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


def derive(num_pictures: int, *, given: Given, standard_lr: float, width: int, num_parts: int) -> Derived:
    """`width` is the denoiser's widest layer; `num_parts` is processes times accumulation."""
    given_steps, given_batch, given_lr = given
    reasons: list[str] = []
    batch_size = given_batch or max(1, 8 // num_parts)
    if given_batch is None:
        reasons.append(f"batch_size={batch_size}: eight pictures a step average out most of the noise")
    global_batch = batch_size * num_parts
    shown = min(2000 + 100 * num_pictures, 100 * max(num_pictures, 80))
    steps = given_steps or max(100, round(shown / global_batch, -1))
    if given_steps is None:
        reasons.append(f"steps={int(steps)}: {num_pictures} pictures, seen {steps * global_batch / num_pictures:.0f} times each")
    lr = given_lr or min(LARGEST_LR, float(f"{standard_lr * max(1.0, STANDARD_WIDTH / width):.1e}"))
    if given_lr is None:
        why = f"{standard_lr:g} at width {STANDARD_WIDTH}; this model's is {width}, and a narrower one takes more (Yang et al. 2022)"
        reasons.append(f"lr={lr:g}: {why}")
    repeats = derived_repeats(num_pictures, global_batch)
    return Derived(int(steps), batch_size, lr, repeats, int(steps) // 20, tuple(reasons))
