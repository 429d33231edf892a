"""Errors that a user can act on. Each says what is wrong, where, and what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class AquatintError(Exception):
    """Shown to the user as a sentence, without a traceback."""

    exit_code = 2


def why(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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


class BadFile(AquatintError):
    """A file is not what it should be, or cannot be used as asked."""


class BadRun(AquatintError):
    """A run folder cannot be used as asked."""


class BadSetting(AquatintError):
    """Settings that are each possible and together are not."""


class Unproven(AquatintError):
    """The file that a run wrote does not do what the trained model does."""

    exit_code = 4


class Shortage(AquatintError):
    """The machine has no disk or no memory left."""

    exit_code = 5


SHORT_OF = {
    "disk": "the disk is full ({reason}). Free some of it, or choose another place with out=; "
            "a run that ended so goes on with: aquatint resume RUN",
    "memory": "the memory is full ({reason}). Take less of it: when training a smaller batch_size (accumulate=2 makes up for half), "
              "a smaller images.resolution or method=lora, when drawing a smaller size=; or end other programs",
}  # fmt: skip
NUMBERS = {errno.ENOSPC: "disk", getattr(errno, "EDQUOT", errno.ENOSPC): "disk", errno.ENOMEM: "memory"}
FULL_MEMORY = re.compile(r"out of memory|not enough memory|can(no|')t allocate memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
"""What PyTorch's allocators say; all of them raise a `RuntimeError`."""


def shortage(error: BaseException) -> Shortage | None:
    """The same error as a sentence if it, or what it was raised from, says that disk or memory is full; any library's error."""
    text = str(error)
    in_rust = re.search(r"\(os error (\d+)\)", text)
    number = error.errno if isinstance(error, OSError) else int(in_rust[1]) if in_rust else None
    is_memory = isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and FULL_MEMORY.search(text))
    kind = "memory" if is_memory else NUMBERS.get(number or 0)
    if kind:
        return Shortage(SHORT_OF[kind].format(reason=(text or type(error).__name__).splitlines()[0]))
    return shortage(error.__cause__) if error.__cause__ else None
