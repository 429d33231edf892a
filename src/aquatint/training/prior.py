"""Prior preservation (Ruiz et al. 2023): what the base drew before is shown beside the user's pictures, so that it stays.

The prompts need no words from the user: they are the captions with another word in the trigger's place, taken from the
commonest words of the base's own tokenizer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aquatint.core.family import Bundle, Conditioning, Encoded, ModelFamily
from aquatint.core.fingerprint import fingerprint
from aquatint.core.randomness import key
from aquatint.data.cache import TensorCache, entry_key
from aquatint.generation.drawing import Request, draw_latents
from aquatint.training.batch import Batch

NUM_WORDS = 300
SLOTS_FROM = 1_000_000
"""Far from the slots of the user's pictures, so that no noise is drawn twice."""
DRAWN_AT_ONCE = 16


@dataclass(frozen=True)
class Prior:
    """The base's own pictures."""

    prompts: Sequence[str]
    latents: Sequence[Tensor]
    """Each (1, C, H, W)."""
    conditionings: dict[str, Conditioning]
    """Empty when the text encoder is trained."""


@dataclass(frozen=True)
class PriorSource:
    """Step -> as many of the base's pictures as the step has of the user's; a pure function."""

    prior: Prior
    batch_size: int
    num_micro: int
    rank: int
    num_processes: int
    weight: float
    seed: int

    def __call__(self, step: int) -> list[Batch]:
        size = self.batch_size * self.num_micro * self.num_processes
        places = range(step * size, (step + 1) * size)
        mine = [range(i, i + self.batch_size) for i in range(self.rank * self.batch_size, size, self.batch_size * self.num_processes)]
        return [self._batch([places[i] for i in part], [SLOTS_FROM + i for i in part], size=size) for part in mine]

    def _batch(self, places: Sequence[int], slots: Sequence[int], *, size: int) -> Batch:
        num = len(self.prior.prompts)
        orders = {place // num: random.Random(key(self.seed, "prior", place // num)).sample(range(num), num) for place in places}
        indices = [orders[place // num][place % num] for place in places]
        latents = torch.cat([self.prior.latents[i] for i in indices])
        prompts = tuple(self.prior.prompts[i] for i in indices)
        told = [self.prior.conditionings[prompt] for prompt in prompts] if self.prior.conditionings else []
        conditioning = Conditioning({name: torch.cat([row[name] for row in told]) for name in told[0]}) if told else None
        weights, names = torch.full((len(places),), self.weight), [f"prior/{i}" for i in indices]
        return Batch(slots, weights, float(size), names, Encoded(latents, torch.zeros_like(latents)), prompts, conditioning)


def prompts(captions: Sequence[str], *, trigger: str | None, words: Sequence[str], num: int, seed: int) -> list[str]:
    """`num` captions with a common word for the trigger; "a photo of a WORD" for captions without it."""
    rng = random.Random(key(seed, "prior prompts"))
    common = list(words[:NUM_WORDS])
    templates = [caption.replace(trigger, "{}") if trigger and trigger in caption else "a photo of a {}" for caption in captions]
    return [templates[index % len(templates)].replace("{}", rng.choice(common)) for index in range(num)]


def drawn(bundle: Bundle, wanted: Sequence[Request], *, cache: TensorCache, precision: torch.dtype) -> list[Tensor]:
    """The base's latents for each request, drawn once and kept in the cache."""
    identity = "+".join(fingerprint(module) for module in (bundle.denoiser, *bundle.text_encoders))
    keys = [entry_key("prior", identity, str(precision), repr(request)) for request in wanted]

    def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
        latents = draw_latents(bundle, [wanted[i] for i in indices], precision=precision)
        return [{"latents": latents[row : row + 1].float().cpu()} for row in range(len(indices))]

    found = cache.get_many(keys, compute, chunk=DRAWN_AT_ONCE, name_of=lambda i: f"the prior picture of {wanted[i].prompt!r}")
    return [entry["latents"] for entry in found]


def words_of(family: ModelFamily, bundle: Bundle) -> list[str]:
    """The tokenizer's whole words of three letters or more, commonest first; empty for a model without words."""
    return [word for word in family.words(bundle) if len(word) > 2 and word.isalpha()]
