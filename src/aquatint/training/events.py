"""What a training run says while it runs. The console, the log, plots and tests all read the same stream."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Event:
    step: int
    """Optimizer steps completed."""


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    """A line for the reader: a choice that was made for them, or a warning."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    num_steps: int
    num_trainable: int
    """Numbers trained."""


@dataclass(frozen=True, kw_only=True)
class Stepped(Event):
    loss: float
    learning_rate: float
    gradient_norm: float
    """L2 norm before clipping."""
    seconds: float
    """Wall time of the step."""
    num_images: int = 0
    """Pictures seen in the step, by all processes together."""
    own_loss: float | None = None
    """The part of `loss` that is of the user's pictures, where there is a prior."""
    prior_loss: float | None = None
    """The rest of it: the prior's, as it counts there (`prior.weight` times its mean)."""


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """The loss or the gradient was not finite; the weights were not changed."""

    loss: float
    gradient_norm: float


@dataclass(frozen=True, kw_only=True)
class Validated(Event):
    loss: float
    """Mean over held-out pictures at fixed noise and fixed times."""


@dataclass(frozen=True, kw_only=True)
class Sampled(Event):
    paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    path: Path


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """Asked to stop before the last step; the state is saved."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    seconds: float
    """Wall time of training since this process began it."""
    measures: dict[str, float] = field(default_factory=dict)
