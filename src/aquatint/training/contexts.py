"""What stands beside a new word keeps its say: nothing is drawn for it, and no picture is needed.

A text encoder's last tokens, from the end of the text on, sum up all of it, and a denoiser draws much of the rest of a prompt from them.
A word of many vectors drowns it there: "a fox fox fox fox fox fox fox fox on a beach" is on no beach, and is on one again when these
tokens alone are taken from "a fox on a beach". So the difference that the other words make to them is held to the difference that they
make beside the base's own words. What the new word itself adds is free. CoRe (Wu et al. 2024) holds the other words' own outputs.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aquatint.core.family import Bundle, ModelFamily
from aquatint.core.randomness import key
from aquatint.data.captions import mention
from aquatint.methods.textual_inversion import TextualInversion
from aquatint.training.batch import Encode
from aquatint.training.settings import Train

NUM_CONTEXTS, NUM_BESIDE, EACH_STEP = 128, 16, 16
"""Prompts in all; words of the base's that each is asked with; prompts of a step."""
NUM_WORDS = 120
CHANGED = 0.7
"""Share of a caption's words that others take the place of."""
LONGEST = 0.75
"""Share of the window that a prompt may fill: after it there must be tokens to compare."""


@dataclass(frozen=True)
class Contexts:
    """N prompts with the trigger, and what the base says at the K last tokens of each, D numbers wide."""

    prompts: Sequence[str]
    ends: Sequence[int]
    """Token at which each text ends, the learned word in it."""
    wanted_NKD: Tensor
    """Mean over words of the base's in the trigger's place."""
    weight: float
    seed: int

    def loss(self, encode: Encode, step: int) -> Tensor:
        """() for some of the prompts: how far what they change is from what they should, as a share of that, times the weight."""
        chosen = random.Random(key(self.seed, "contexts", step)).sample(range(len(self.prompts)), min(EACH_STEP, len(self.prompts)))
        said = encode([self.prompts[i] for i in chosen])["prompt_embeds"].float()
        num = self.wanted_NKD.shape[1]
        ends = torch.stack([row[self.ends[i] : self.ends[i] + num] for row, i in zip(said, chosen, strict=True)])
        error = _changes(ends) - _changes(self.wanted_NKD[chosen].to(ends.device))
        return self.weight * error.square().mean() / _changes(self.wanted_NKD).square().mean().to(ends.device)


def contexts_of(bundle: Bundle, family: ModelFamily, *, config: Train, captions: Sequence[str], words: Sequence[str]) -> Contexts | None:
    """Asked of the base as it is, before anything is attached. None where nothing is to be held, or the base has no words for it."""
    method, trigger = config.method, config.trigger or ""
    if not isinstance(method, TextualInversion) or not method.context:
        return None
    beside = [word for word in words if all(_end(tokenizer, word) == 2 for tokenizer in bundle.tokenizers)][:NUM_WORDS]
    if len(beside) < NUM_BESIDE:
        return None
    named, tokenizer, rng = mention(trigger), bundle.tokenizers[0], random.Random(key(config.seed, "contexts"))
    window = tokenizer.model_max_length
    told = _prompts(captions, trigger, words=beside, rng=rng)
    ended = {text: _end(tokenizer, named.sub(beside[0], text)) + method.vectors - 1 for text in told}
    short = {text: end for text, end in ended.items() if end <= window * LONGEST}
    if len(short) < 2:
        return None
    num = window - max(short.values())
    asked = ([named.sub(word, text) for word in rng.sample(beside, NUM_BESIDE)] for text in short)
    wanted = torch.stack([_mean(bundle, family, prompts=texts, num=num) for texts in asked])
    return Contexts(list(short), list(short.values()), wanted, method.context, config.seed)


def _prompts(captions: Sequence[str], trigger: str, *, words: Sequence[str], rng: random.Random) -> list[str]:
    """The captions that name the trigger once, with common words among their own; where they have none of these, after them."""
    told = [caption for caption in captions if len(mention(trigger).findall(caption)) == 1] or [f"a photo of a {trigger}"]
    return [_varied(told[i % len(told)], words=words, rng=rng) for i in range(NUM_CONTEXTS)]


def _varied(caption: str, *, words: Sequence[str], rng: random.Random) -> str:
    def other(word: re.Match[str]) -> str:
        return rng.choice(words) if word[0] in words and rng.random() < CHANGED else word[0]

    has_known = any(word in words for word in re.findall(r"\w+", caption))
    return re.sub(r"\w+", other, caption) if has_known else f"{caption} {rng.choice(words)} {rng.choice(words)}"


def _end(tokenizer: Any, prompt: str) -> int:
    """Index of the token at which the text ends."""
    return len(tokenizer(prompt, verbose=False).input_ids) - 1


@torch.no_grad()
def _mean(bundle: Bundle, family: ModelFamily, *, prompts: Sequence[str], num: int) -> Tensor:
    """(K, D)"""
    end = _end(bundle.tokenizers[0], prompts[0])
    return family.encode_prompts(bundle, prompts)["prompt_embeds"][:, end : end + num].float().mean(0).cpu()


def _changes(said_NKD: Tensor) -> Tensor:
    """What each prompt changes, beside the mean of them all."""
    return said_NKD - said_NKD.mean(0)
