"""Errors that a user can act on. Each says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class AquatintError(Exception):
    """Shown to the user as a sentence, without a traceback."""

    exit_code = 2


class Diverged(AquatintError):
    """The loss or the gradient stayed not finite."""

    exit_code = 3

    def __init__(self, step: int, names: Sequence[str], precision: torch.dtype):
        shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
        super().__init__(
            f"the loss or gradient was not finite at three of the last 200 steps, last at step {step} "
            f"(images: {shown}; precision {precision}). "
            "The weights of those steps were not changed and the last good checkpoint is kept. "
            "Most often the learning rate is too high: try a third of it, or precision=fp32."
        )


class BadBase(AquatintError):
    """The base model cannot be found, is not a model, or is of another family."""


class BadRun(AquatintError):
    """A run folder cannot be used as asked."""


class BadSetting(AquatintError):
    """Settings that are each possible and together are not."""


class Unproven(AquatintError):
    """The file that a run wrote does not do what the trained model does."""

    exit_code = 4
