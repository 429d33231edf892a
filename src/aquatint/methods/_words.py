"""What methods share that make the trigger a word of its own: their settings, their checks, and the word's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from aquatint.errors import BadSetting
from aquatint.methods.base import NO_TRIGGER, Method, Shapes, of_kind

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FILE = "learned_embeds.safetensors"
AUTO = "auto"
WORD = "word_"
"""Names of the word's parameters begin so."""


class LearnsWord(Method):
    """The trigger becomes `vectors` new tokens of every text encoder that can learn one (Gal et al. 2022)."""

    vectors: int = Field(3, ge=1, le=64)
    """Tokens that the new word consists of."""
    initialiser: str | None = None
    """One or several words of the base that the new one begins as, such as `dog` or `red toy`; `auto` finds those by which the base
    explains your pictures best. Not given: the pieces that the tokenizer cuts the trigger into."""

    learns_trigger: ClassVar = True

    def misfit(self, told: str, family: ModelFamily) -> str | None:
        if told != "text":
            return super().misfit(told, family)
        why = family.no_own_word
        return f"{why}; use method=lora, with method.text_encoder=true where it has one to train" if why else super().misfit(told, family)

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        from aquatint.methods._own_words import check_initialiser, check_word

        if not trigger:
            raise BadSetting(NO_TRIGGER)
        words = family.words(bundle)
        check_word(bundle, trigger, num=self.vectors, words=words)
        if self.initialiser not in (None, AUTO):
            check_initialiser(bundle, self.initialiser, num=self.vectors, words=words)
        super().check(bundle, family, trigger=trigger)

    def _num_word(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        """How many numbers the word is."""
        shapes = of_kind(parts, family.text_parts)
        return self.vectors * sum(shape[1] for name, shape in shapes.items() if name.endswith(".token_embedding.weight"))

    def _attach_word(self, bundle: Bundle, trigger: str | None) -> dict[str, nn.Parameter]:
        from aquatint.methods._own_words import add_word

        return add_word(bundle, trigger or "", num=self.vectors, begun=None if self.initialiser == AUTO else self.initialiser)

    def _apart(self, trained: Mapping[str, nn.Parameter]) -> tuple[dict[str, nn.Parameter], list[nn.Parameter]]:
        """What `attach` returned, without the word; and the word."""
        rest = {name: parameter for name, parameter in trained.items() if not name.startswith(WORD)}
        return rest, [parameter for name, parameter in trained.items() if name not in rest]

    def _write_word(self, bundle: Bundle, path: Path, *, facts: dict[str, str]) -> None:
        from aquatint.export.embedding import write
        from aquatint.methods._own_words import learned

        word, vectors = learned(bundle)
        write(path, vectors, word=word, facts=facts)

    def _load_word(self, bundle: Bundle, path: Path) -> None:
        from aquatint.export.embedding import load

        load(bundle.pipeline, path)

    def _word_lines(self, path: str) -> list[str]:
        from aquatint.export.embedding import loading_lines

        return loading_lines(Path(path))
