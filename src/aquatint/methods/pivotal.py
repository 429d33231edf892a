"""Pivotal tuning (Roich et al. 2021): the trigger becomes a word of its own, learned together with low-rank adapters.

What is special about the subject can go into the word, so the adapters need to change less of what all prompts share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from aquatint.methods._words import FILE, LearnsWord
from aquatint.methods.base import Shapes
from aquatint.methods.lora import LoRA

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily


class Pivotal(LearnsWord, LoRA, kind="pivotal"):
    """LoRA, and the trigger as a new word: keeps more of what the base knew; a second, very small file."""

    word_lr: PositiveFloat = 0.3
    """Peak learning rate of the word, as a share of the usual size of an embedding's numbers; `lr` does not change it."""

    companions: ClassVar = (FILE,)

    @property
    def has_several_rates(self) -> bool:
        return True

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        return super().num_trained(parts, family) + self._num_word(parts, family)

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        return {**super().attach(bundle, family, trigger=trigger), **self._attach_word(bundle, trigger)}

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """The word's size is free: decay would pull it to the middle of all words."""
        adapters, word = self._apart(trained)
        return [*super().groups(adapters), {"params": word, "lr": self.word_lr, "weight_decay": 0.0}]

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        saved = super().save(bundle, out_dir, facts=facts)
        self._write_word(bundle, out_dir / FILE, facts=facts)
        return saved

    def load(self, bundle: Bundle, saved: Path) -> None:
        super().load(bundle, saved)
        self._load_word(bundle, saved.with_name(FILE))

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        word = self._word_lines(str(Path(saved).with_name(FILE)))
        return [*super().loading_lines(pipeline, base, saved=saved), *word]
