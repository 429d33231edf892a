"""A word of the user's own: vectors beside the text encoders' frozen tables (Gal et al. 2022)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from aquatint.core.family import Bundle
from aquatint.errors import BadSetting
from aquatint.methods._words import WORD
from aquatint.names import near


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


def add_word(bundle: Bundle, word: str, *, num: int, begun: str | None = None) -> dict[str, nn.Parameter]:
    """Every tokenizer and text encoder learns `word` as `num` new tokens; returns what to train.

    They begin as the tokens of `begun`, in turn, or as the word's own pieces.
    """
    return {f"{WORD}{i}": _add(*pair, word=word, num=num, begun=begun or word) for i, pair in enumerate(_pairs(bundle))}


def _add(tokenizer: Any, encoder: Any, *, word: str, num: int, begun: str) -> nn.Parameter:
    pieces = tokenizer(begun, add_special_tokens=False).input_ids
    table, first = encoder.get_input_embeddings(), len(tokenizer)
    tokenizer.add_tokens(_tokens(word, num))
    own = OwnWord(table, table.weight[[pieces[i % len(pieces)] for i in range(num)]], word=word, first=first)
    encoder.set_input_embeddings(own)
    return own.scaled


def learned(bundle: Bundle) -> tuple[str, dict[str, Tensor]]:
    """The word, and its vectors (N, D) by the pipeline's names of the text encoders."""
    names = {id(part): name for name, part in bundle.pipeline.components.items()}
    own = {names[id(encoder)]: encoder.get_input_embeddings() for encoder in bundle.adaptable}  # type: ignore[operator]
    return next(iter(own.values())).word, {name: each.vectors() for name, each in own.items()}


def check_word(bundle: Bundle, word: str, *, num: int, words: Sequence[str]) -> None:
    """`words` are those that the tokenizer knows. Raises `BadSetting` when stock loaders would refuse the word or misread others."""
    advice = "choose another, such as zwx"
    for tokenizer in bundle.tokenizers:
        taken = [token for token in _tokens(word, num) if token in tokenizer.get_vocab()]
        if taken:
            text = f"{taken[0]!r} is a token of the base already, so it cannot become a word of your own"
            raise BadSetting(f"trigger={word}: {text}; {advice}")
        if not tokenizer(word, add_special_tokens=False).input_ids:
            raise BadSetting(f"trigger={word}: the base's tokenizer reads nothing there; {advice}")
        if num > (seen := tokenizer.model_max_length) // 2:
            raise BadSetting(f"method.vectors={num}: the text encoder sees {seen} tokens in all; choose at most {seen // 2}")
    torn = [known for known in words if word in known and word != known][:3]
    if torn:
        raise BadSetting(f"trigger={word}: it is a part of words that the base knows ({', '.join(torn)}), which it would cut up; {advice}")


def check_initialiser(bundle: Bundle, begun: str, *, num: int, words: Sequence[str]) -> None:
    """Raises `BadSetting` for a word that is no token of the base, and for more words than the new one has vectors."""
    wanted = begun.split()
    if not wanted:
        raise BadSetting("method.initialiser: there is no word in it; name one, such as dog, or leave it out")
    for word in wanted:
        if any(len(tokenizer(word, add_special_tokens=False).input_ids) != 1 for tokenizer in bundle.tokenizers):
            known = near(word, words)
            advice = f"did you mean {known}? Else choose" if known else "choose"
            raise BadSetting(f"method.initialiser: {word!r} is not one token of the base, so it has no vector; {advice} a plainer word")
    if len(wanted) > num:
        raise BadSetting(f"method.initialiser: {len(wanted)} words for {num} vectors; name fewer, or method.vectors={len(wanted)}")


def _pairs(bundle: Bundle) -> list[tuple[Any, Any]]:
    return list(zip(bundle.tokenizers, bundle.adaptable, strict=True))


def _tokens(word: str, num: int) -> list[str]:
    """As stock diffusers numbers them."""
    return [word, *(f"{word}_{i}" for i in range(1, num))]
