"""`method.initialiser=auto`: the words by which the frozen base explains the user's pictures best, for a new word to begin as.

A word explains pictures if the base's loss on them is low with the word in the trigger's place. All words are tried on the same few
noises and times; the better quarter of them is tried on four times as many, and so on (successive halving: Jamieson & Talwalkar
2016, "Non-stochastic best arm identification"). Words are then added to the best one as long as the loss falls.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice

import torch
from torch import Tensor

from aquatint.core.family import Bundle, ModelFamily
from aquatint.core.fingerprint import identity
from aquatint.core.randomness import SampleRandom
from aquatint.data.cache import TensorCache, entry_key
from aquatint.data.captions import mention
from aquatint.data.findings import Finding
from aquatint.errors import BadSetting
from aquatint.methods._words import AUTO, LearnsWord
from aquatint.ticker import Ticker
from aquatint.training.batch import Examples
from aquatint.training.settings import Loss, Train

MOST_CANDIDATES = 320
"""The commonest words of the base."""
NUM_LESSONS = (3, 12, 48)
"""Of each round; a quarter of the words goes on to the next."""
MOST_WORDS, MOST_PICTURES = 4, 16
AT_ONCE = 48
GOLDEN = 0.6180339887498949
"""Steps of this share of the whole fill it evenly at any number of them."""
SLOTS_FROM = 2_000_000
"""Far from the slots of training."""

Words = tuple[str, ...]


def is_sought(config: Train) -> bool:
    return isinstance(config.method, LearnsWord) and config.method.initialiser == AUTO


def chosen(config: Train, search: "Search", *, words: Sequence[str]) -> tuple[Train, Finding]:
    """The settings with the best of `words` in them, and what is to be said of it. Raises `BadSetting` for a base without words."""
    tokenizers = search.bundle.tokenizers
    known = [word for word in words if all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for tokenizer in tokenizers)]
    if not known:
        raise BadSetting("method.initialiser=auto: this base's tokenizer has no words to try; leave it out")
    tried = known[:MOST_CANDIDATES]
    best = " ".join(search.best(tried))
    text = f"{config.trigger} begins as {best!r}, by which the base explains the pictures best, of the {len(tried)} words tried"
    method = config.method.model_copy(update={"initialiser": best})
    return config.model_copy(update={"method": method}), Finding("note", "method.initialiser", text)


@dataclass(frozen=True)
class Search:
    """What was found is kept in the cache: processes that look one after another find the same."""

    bundle: Bundle
    """As it was loaded."""
    family: ModelFamily
    cache: TensorCache
    precision: torch.dtype
    examples: Examples
    trigger: str
    vectors: int
    """Words are repeated to fill these: as the new one will begin."""
    seed: int
    loss: Loss
    """What the bundle's objective was made by."""

    def best(self, candidates: Sequence[str]) -> Words:
        """At most `MOST_WORDS` of them, and no more than there are vectors."""
        left: list[Words] = [(word,) for word in candidates]
        losses: dict[Words, float] = {}
        for num in NUM_LESSONS:
            left = sorted(left, key=lambda words: losses.get(words, 0.0))[: max(4, len(left) // 4) if losses else None]
            losses = self.losses(left, num=num)
        found = min(losses, key=lambda words: losses[words])
        while len(found) < min(MOST_WORDS, self.vectors):
            longer = self.losses([(*found, word) for (word,) in left if word not in found], num=num)
            best = min(longer, key=lambda words: longer[words], default=found)
            if longer.get(best, losses[found]) >= losses[found]:
                break
            losses, found = longer, best
        return found

    def losses(self, tried: Sequence[Words], *, num: int) -> dict[Words, float]:
        """Mean loss of the base over `num` lessons with these words in the trigger's place."""
        phrases = [" ".join(islice(cycle(words), self.vectors)) for words in tried]
        keys = [entry_key("initialiser", self._identity, str(num), phrase) for phrase in phrases]

        def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
            return [{"loss": loss} for loss in self._measured([phrases[i] for i in indices], num=num)]

        progress = Ticker("words tried")
        found = self.cache.get_many(keys, compute, chunk=AT_ONCE, progress=progress, name_of=lambda i: f"the loss with {phrases[i]!r}")
        return {words: float(entry["loss"]) for words, entry in zip(tried, found, strict=True)}

    @torch.no_grad()
    def _measured(self, phrases: Sequence[str], *, num: int) -> Tensor:
        """(W,), one for each phrase."""
        bundle, objective, named = self.bundle, self.bundle.objective, mention(self.trigger)
        of_picture = [[named.sub(phrase, text) for phrase in phrases] for _, text in self._shown[:num]]
        told = [self.family.encode_prompts(bundle, texts).to(bundle.device) for texts in of_picture]
        total = torch.zeros(len(phrases))
        for lesson in range(num):
            index = lesson % len(self._shown)
            x_0 = self._shown[index][0]
            eps = SampleRandom(self.seed, 0, [SLOTS_FROM + lesson]).normal("initialiser noise", x_0.shape[1:])
            t = objective.time(torch.tensor([(0.5 + lesson * GOLDEN) % 1]))
            asked = objective.lesson_at(x_0, eps=eps, t=t).repeated(len(phrases)).to(bundle.device)
            with torch.autocast(bundle.device.type, self.precision, enabled=self.precision != torch.float32):
                total += objective.losses(self.family.network(bundle, told[index]), asked).float().cpu()
        return total / num

    @cached_property
    def _shown(self) -> list[tuple[Tensor, str]]:
        """Pictures, each (1, C, H, W), and what is told of them."""
        every = zip(self.examples.views, self.examples.prompts, strict=True)
        return [(views[0].mean_BCHW.float(), prompts[0]) for views, prompts in every][:MOST_PICTURES]

    @cached_property
    def _identity(self) -> str:
        pictures = [hashlib.sha256(latents.numpy().tobytes()).hexdigest() for latents, _ in self._shown]
        captions = [text for _, text in self._shown]
        return repr((identity(self.bundle), self.loss, self.precision, pictures, captions, self.trigger, self.seed))
