"""A word of the user's own: vectors beside the text encoder's frozen table (Gal et al. 2022)."""

from collections.abc import Sequence
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
    """Tokenizer and text encoder learn `word` as `num` new tokens, which begin as its own pieces, in turn; returns what to train."""
    tokenizer = bundle.pipeline.tokenizer
    encoder: Any = bundle.text_encoders[0]
    pieces = tokenizer(word, add_special_tokens=False).input_ids
    table, first = encoder.get_input_embeddings(), len(tokenizer)
    tokenizer.add_tokens(_tokens(word, num))
    own = OwnWord(table, table.weight[[pieces[i % len(pieces)] for i in range(num)]], word=word, first=first)
    encoder.set_input_embeddings(own)
    return own.scaled


def check_word(bundle: Bundle, word: str, *, num: int, words: Sequence[str]) -> None:
    """`words` are those that the tokenizer knows. Raises `BadSetting` when stock loaders would refuse the word or misread others."""
    tokenizer = bundle.pipeline.tokenizer
    taken = [token for token in _tokens(word, num) if token in tokenizer.get_vocab()]
    torn = [known for known in words if word in known and word != known][:3]
    advice = "choose another, such as zwx"
    if taken:
        raise BadSetting(f"trigger={word}: {taken[0]!r} is a token of the base already, so it cannot become a word of your own; {advice}")
    if torn:
        raise BadSetting(f"trigger={word}: it is a part of words that the base knows ({', '.join(torn)}), which it would cut up; {advice}")
    if not tokenizer(word, add_special_tokens=False).input_ids:
        raise BadSetting(f"trigger={word}: the base's tokenizer reads nothing there; {advice}")
    if num > (most := tokenizer.model_max_length // 2):
        raise BadSetting(f"method.vectors={num}: the text encoder sees {tokenizer.model_max_length} tokens in all; choose at most {most}")


def _tokens(word: str, num: int) -> list[str]:
    """As stock diffusers numbers them."""
    return [word, *(f"{word}_{i}" for i in range(1, num))]
