"""Learning-rate schedules: pure functions of the optimizer step, so they know nothing of processes or resumes."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""Steps completed -> factor on the peak learning rate, in [0, 1]."""


def warmup_cosine(*, num_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Linear rise, then half a cosine down to `final` at the last step (Loshchilov & Hutter 2017)."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    return factor


def warmup_constant(*, num_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Linear rise, then flat; `num_steps` and `final` are accepted and change nothing."""
    return lambda step: min(1.0, (step + 1) / (warmup_steps + 1))


def warmup_linear(*, num_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """Linear rise, then linear down to `final` at the last step."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return 1.0 - (1.0 - final) * min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))

    return factor


SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant, "constant_with_warmup": warmup_constant, "linear": warmup_linear}
