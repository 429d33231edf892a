"""Textual inversion (Gal et al. 2022): the trigger becomes a new word, and nothing but its vectors is trained.

The model itself stays as it was to the bit, so no other prompt changes; what it cannot draw yet, a word cannot teach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from aquatint.methods._words import FILE, LearnsWord
from aquatint.methods.base import Shapes, pipeline_lines

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily


class TextualInversion(LearnsWord, kind="textual_inversion"):
    """The trigger as a new word, alone: a file of some kilobytes, and every other prompt stays as it was."""

    vectors: int = Field(8, ge=1, le=64)
    """Tokens that the new word consists of."""

    context: float = Field(0.25, ge=0)
    """What it counts that the words beside the new one say what they say beside words of the base, next to 1 for the pictures. 0: free."""

    keeps_rest: ClassVar = True
    width_power: ClassVar = 0.0

    @property
    def keeps_base(self) -> bool:
        return True

    @property
    def default_lr(self) -> float:
        """As a share of the usual size of an embedding's numbers."""
        return 0.1

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        return self._num_word(parts, family)

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        self.check(bundle, family, trigger=trigger)
        bundle.freeze()
        return self._attach_word(bundle, trigger)

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """The word's size is free: decay would pull it to the middle of all words."""
        return [{"params": list(trained.values()), "weight_decay": 0.0}]

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        self._write_word(bundle, out_dir / FILE, facts=facts)
        return out_dir / FILE

    def load(self, bundle: Bundle, saved: Path) -> None:
        self._load_word(bundle, saved)

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        return [*pipeline_lines(pipeline, base), *self._word_lines(saved)]
