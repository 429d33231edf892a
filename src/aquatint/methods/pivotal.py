"""Pivotal tuning (Roich et al. 2021): the trigger becomes a word of its own, learned together with low-rank adapters.

What is special about the subject can go into the word, so the adapters need to change less of what all prompts share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat

from aquatint.errors import BadSetting
from aquatint.methods.base import NO_TRIGGER, Shapes, of_kind
from aquatint.methods.lora import LoRA

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FILE = "learned_embeds.safetensors"
WORD = "word"


class Pivotal(LoRA, kind="pivotal"):
    """LoRA, and the trigger as a new word: keeps more of what the base knew; a second, very small file."""

    vectors: int = Field(3, ge=1, le=64)
    """Tokens that the new word consists of."""
    word_lr: PositiveFloat = 0.3
    """Peak learning rate of the word, as a share of the usual size of an embedding's numbers; `lr` does not change it."""

    learns_trigger: ClassVar = True
    companions: ClassVar = (FILE,)

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        widths = [shape[1] for name, shape in of_kind(parts, family.text_parts).items() if name.endswith(".token_embedding.weight")]
        return super().num_trained(parts, family) + self.vectors * sum(widths[:1])

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        from aquatint.methods._own_words import add_word

        trained = super().attach(bundle, family, trigger=trigger)
        return {**trained, WORD: add_word(bundle, trigger or "", num=self.vectors)}

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        from aquatint.methods._own_words import check_word

        if not trigger:
            raise BadSetting(NO_TRIGGER)
        check_word(bundle, trigger, num=self.vectors, words=family.words(bundle))
        super().check(bundle, family, trigger=trigger)

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """The word's size is free: decay would pull it to the middle of all words."""
        adapters = {name: parameter for name, parameter in trained.items() if name != WORD}
        return [*super().groups(adapters), {"params": [trained[WORD]], "lr": self.word_lr, "weight_decay": 0.0}]

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export.embedding import write

        encoder: Any = bundle.text_encoders[0]
        saved, own = super().save(bundle, out_dir, facts=facts), encoder.get_input_embeddings()
        write(out_dir / FILE, own.vectors(), word=own.word, facts=facts)
        return saved

    def load(self, bundle: Bundle, saved: Path) -> None:
        super().load(bundle, saved)
        bundle.pipeline.load_textual_inversion(saved.parent, weight_name=FILE)

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        word = str(Path(saved).with_name(FILE))
        return [*super().loading_lines(pipeline, base, saved=saved), f"pipe.load_textual_inversion({word!r})"]
