"""Go on with a run that was stopped or killed, from its newest whole checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from aquatint.config import Config
from aquatint.errors import BadRun

if TYPE_CHECKING:
    from aquatint.training.events import Event


class Resume(Config):
    run: Path
    """Folder of the run."""

    main: ClassVar = ("run",)
    positional: ClassVar = ("run",)


def run(config: Resume) -> Iterator[Event]:
    """Raises `BadRun` when the folder holds no run, or one that has finished."""
    from aquatint.commands import train
    from aquatint.training.settings import Train

    stored = config.run / "config.yaml"
    if not stored.is_file():
        raise BadRun(f"{config.run}: no run has been here (there is no config.yaml)")
    if (config.run / "facts.json").is_file():
        raise BadRun(f"{config.run}: this run has finished; to train longer start a new one with more steps")
    settings = Train.read([], file=stored)
    yield from train.run(settings.model_copy(update={"resume": True, "out": config.run}))
