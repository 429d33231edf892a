"""Learning-rate schedules: pure functions of the optimizer step, so they know nothing of processes or resumes."""

import math
from collections.abc import Callable

from aquatint.training.settings import Optimizer

Schedule = Callable[[int], float]
"""Steps completed -> factor on the peak learning rate, in [0, 1]."""


Shape = Callable[[float], float]
"""Share of the way after the warm-up, in [0, 1] -> factor, in [0, 1]."""


def risen(shape: Shape, *, num_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """A linear rise, then the shape, which ends at the last step; where it gives 0 the factor is `final`."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return final + (1.0 - final) * shape(min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps)))

    return factor


def cosine(num_cycles: int = 1) -> Shape:
    """Half a cosine down, so many times (Loshchilov & Hutter 2017)."""
    return lambda done: 0.5 * (1.0 + math.cos(math.pi * (num_cycles * done % 1.0 if done < 1 else 1.0)))


def polynomial(power: float = 1.0) -> Shape:
    return lambda done: float((1.0 - done) ** power)


def constant(done: float) -> float:
    return 1.0


def warmup_cosine(*, num_steps: int, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    return risen(cosine(), num_steps=num_steps, warmup_steps=warmup_steps, final=final)


def schedule_of(settings: Optimizer, *, num_steps: int, warmup_steps: int) -> Schedule:
    shapes: dict[str, Shape] = {
        "cosine": cosine(), "cosine_with_restarts": cosine(settings.num_cycles or 1), "linear": polynomial(),
        "polynomial": polynomial(settings.power or 1.0), "constant": constant, "constant_with_warmup": constant,
    }  # fmt: skip
    return risen(shapes[settings.schedule], num_steps=num_steps, warmup_steps=warmup_steps)
