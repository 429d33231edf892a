"""How much a run will write to its folder, from the names and shapes of the base's weights; no model is loaded."""

import math
from dataclasses import dataclass
from types import ModuleType

from aquatint.families import _sources
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Train

FLOAT_BYTES = 4
SLOTS = {"adamw": 2, "lion": 1}
"""Numbers that an optimizer keeps for each that is trained. Of others nothing is known, so nothing is asked for."""


@dataclass(frozen=True)
class Room:
    """In bytes."""

    checkpoint: int
    result: int
    num_saved: int
    num_kept: int

    @property
    def peak(self) -> int:
        """An old checkpoint goes when the new one is whole; the result comes when all are written."""
        while_training = min(self.num_kept + 1, self.num_saved) * self.checkpoint
        return max(while_training, min(self.num_kept, self.num_saved) * self.checkpoint + self.result)


def room(config: Train, family: ModuleType) -> Room:
    """Zeros for a base whose weights are not on this machine yet."""
    parts = _sources.shapes(_sources.resolve(config.base), family.FILE_PARTS)
    num_trained = config.method.num_trained(parts, family) if parts else 0
    each = 1 + SLOTS.get(config.optimizer.name, 0) + bool(config.ema)
    written = config.method.num_written(parts, family) if parts else 0
    written *= 1 + len(config.export)
    return Room(num_trained * each * FLOAT_BYTES, written * FLOAT_BYTES, _num_saved(config), config.checkpoints.keep)


def held(folder: RunFolder) -> int:
    """Bytes that a run to go on with has written already."""
    return sum(path.stat().st_size for path in folder.checkpoints.rglob("*") if path.is_file())


def _num_saved(config: Train) -> int:
    every, steps = config.checkpoints.every, config.steps
    if every == 0:
        return 1
    return math.ceil(steps / every) if every and steps else config.checkpoints.keep + 1
