"""A word of the user's own: vectors beside the text encoder's frozen table (Gal et al. 2022)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from aquatint.core.family import Bundle
from aquatint.errors import BadSetting


class OwnWord(nn.Module):
    """In place of a text encoder's table. Tokens from `first` on are the user's; the table is never touched."""

    def __init__(self, table: nn.Embedding, vectors: Tensor, *, word: str, first: int):
        super().__init__()
        self.table, self.word, self.first = table, word, first
        self.unit = float(table.weight.std())
        self.scaled = nn.Parameter(vectors.detach().float() / self.unit)
        """(N, D), in units of the table's spread: so a learning rate means the same in every text encoder."""

    @property
    def weight(self) -> Tensor:
        """The frozen table: what stock code asks an embedding for."""
        return self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        is_own = tokens >= self.first
        own = embedding((tokens - self.first).clamp(min=0), self.vectors())
        return torch.where(is_own[..., None], own, self.table(tokens.masked_fill(is_own, 0)))

    def vectors(self) -> Tensor:
        """(N, D), as they enter the text encoder."""
        return self.scaled * self.unit


def add_word(bundle: Bundle, word: str, *, num: int) -> nn.Parameter:
    """Tokenizer and text encoder learn `word` as `num` new tokens, and the vectors to train are returned.

    They begin as those of the word's own pieces, in turn. Raises `BadSetting` when the word is a token already.
    """
    tokenizer = bundle.pipeline.tokenizer
    encoder: Any = bundle.text_encoders[0]
    pieces = tokenizer(word, add_special_tokens=False).input_ids
    names = [word, *(f"{word}_{i}" for i in range(1, num))]  # as stock diffusers numbers them
    taken = [name for name in names if name in tokenizer.get_vocab()]
    if taken or not pieces:
        reason = f"is a token of the base already ({taken[0]!r})" if taken else "is nothing to the base's tokenizer"
        raise BadSetting(f"trigger={word}: it {reason}, so it cannot become a word of your own; choose another, such as zwx")
    table, first = encoder.get_input_embeddings(), len(tokenizer)
    tokenizer.add_tokens(names)
    own = OwnWord(table, table.weight[[pieces[i % len(pieces)] for i in range(num)]], word=word, first=first)
    encoder.set_input_embeddings(own)
    return own.scaled
