"""The embedded model's world: what it was taught, what was held out, and who judges."""

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from aquatint.evaluation.clip_scores import ClipScores
from aquatint.evaluation.judge import Judge, load_judge


@dataclass(frozen=True)
class World:
    root: Path
    """Holds `world.json`, `judge/` and `clip/`."""

    @cached_property
    def _facts(self) -> dict[str, list[str]]:
        facts: dict[str, list[str]] = json.loads((self.root / "world.json").read_text())
        return facts

    @property
    def trained(self) -> dict[str, str]:
        """Thing -> how a caption names one: `owl` -> `an owl`."""
        return dict(zip(self._facts["trained"], self._facts["trained_phrases"], strict=True))

    @property
    def held_out(self) -> list[str]:
        return self._facts["held_out"]

    @property
    def places(self) -> list[str]:
        return self._facts["places"]

    @cached_property
    def judge(self) -> Judge:
        return load_judge(self.root / "judge")

    @cached_property
    def clip(self) -> ClipScores:
        return ClipScores(self.root / "clip")


def embedded() -> World:
    """The one that ships with the package."""
    return World(Path(str(files("aquatint") / "models" / "world")))
