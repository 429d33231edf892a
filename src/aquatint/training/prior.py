"""Prior preservation: beside the user's pictures the network repeats what the base itself said, so that the rest stays.

DreamBooth (Ruiz et al. 2023) shows pictures that the base has drawn as if they were the truth; so does `prior.preserve=pictures`. Else
the network is held to the base's own outputs on them (Hinton et al. 2015; Li & Hoiem 2016), with the prompt and, as often, without:
what the network says to the empty prompt is what guidance subtracts, and a subject that leaks into it is taken out of its own pictures.

The prompts need no words from the user: they are the captions with another word in the trigger's place, taken from the
commonest words of the base's own tokenizer. The user may also give pictures, with their captions, for the base to be asked about.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from aquatint.core.family import Bundle, Conditioning, Encoded, ModelFamily
from aquatint.core.fingerprint import identity
from aquatint.core.objective import Lesson, Objective
from aquatint.core.process import perturb
from aquatint.core.randomness import SampleRandom, key
from aquatint.core.request import Request
from aquatint.data.cache import TensorCache, entry_key
from aquatint.data.captions import mention
from aquatint.data.records import ImageRecord
from aquatint.data.transforms import record_views
from aquatint.generation.drawing import draw_latents
from aquatint.training.batch import Batch, Encode, together
from aquatint.training.encoding import Encoding

NUM_WORDS = 120
NUM_STEPS = 16
"""Denoising steps of a prior picture: what is learned from it is what the base says, so it need not be fine."""
LESSONS_EACH = 16
"""At how many noise levels the base is asked about each picture; half of them without its prompt."""
SLOTS_FROM = 1_000_000
"""Far from the slots of the user's pictures, so that no noise is drawn twice."""
AT_ONCE = 16


@dataclass(frozen=True)
class Prior:
    """Lesson i is about picture i modulo their number: what the base said of it, or the picture itself."""

    latents: Sequence[Tensor]
    """The pictures, the base's own or the user's, each (1, C, H, W)."""
    prompts: Sequence[str]
    """Of each lesson; of the base's outputs empty for every other round through the pictures, where that means something."""
    outputs: Sequence[Tensor]
    """The base's output in each lesson, (1, C, H, W). None at all: each picture is one lesson, at a noise of every step's own."""
    conditionings: dict[str, Conditioning]
    """Empty when the text encoder is trained."""
    seed: int
    names: Sequence[str] = ()
    """Of the pictures."""

    def shown(self, lessons: Sequence[int]) -> Tensor:
        """Their pictures, (B, C, H, W)."""
        return torch.cat([self.latents[i % len(self.latents)] for i in lessons])

    def noised(self, objective: Objective, lessons: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(x_t, t) of these lessons, the same in every step that they come up."""
        x_0 = self.shown(lessons)
        drawn = SampleRandom(self.seed, 0, [SLOTS_FROM + i for i in lessons])
        t = objective.time(drawn.uniform("prior time"))
        return perturb(objective.process, x_0, eps=drawn.normal("prior noise", x_0.shape[1:]), t=t), t


@dataclass(frozen=True)
class PriorBatch:
    """One micro-batch of lessons."""

    slots: Sequence[int]
    weight_B: Tensor
    total_weight: float
    names: Sequence[str]
    prompts: tuple[str, ...]
    conditioning: Conditioning | None
    asked: Lesson

    @property
    def num_own(self) -> int:
        return 0

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.asked.x_t_BCHW.shape[1:])

    def lesson(self, objective: Objective, random: SampleRandom) -> Lesson:
        return self.asked

    def told(self, encode: Encode) -> Conditioning:
        return self.conditioning or encode(self.prompts)


@dataclass(frozen=True)
class ClassBatch(Batch):
    """One micro-batch of pictures that are learned as the user's are, and are none of them."""

    @property
    def num_own(self) -> int:
        return 0


@dataclass(frozen=True)
class PriorSource:
    """Step -> as many lessons as the step has pictures of the user's; a pure function."""

    prior: Prior
    objective: Objective
    batch_size: int
    num_micro: int
    rank: int
    num_processes: int
    weight: float

    def __call__(self, step: int) -> list[PriorBatch | ClassBatch]:
        size = self.batch_size * self.num_micro * self.num_processes
        places = range(step * size, (step + 1) * size)
        mine = [range(i, i + self.batch_size) for i in range(self.rank * self.batch_size, size, self.batch_size * self.num_processes)]
        return [self._batch([places[i] for i in part], [SLOTS_FROM + i for i in part], size=size) for part in mine]

    def _batch(self, places: Sequence[int], slots: Sequence[int], *, size: int) -> PriorBatch | ClassBatch:
        prior, num = self.prior, len(self.prior.prompts)
        orders = {place // num: random.Random(key(prior.seed, "prior", place // num)).sample(range(num), num) for place in places}
        lessons = [orders[place // num][place % num] for place in places]
        prompts = tuple(prior.prompts[i] for i in lessons)
        told = together(prior.conditionings, prompts)
        weights, names = torch.full((len(places),), self.weight), [f"prior/{_name(prior, i % len(prior.latents))}" for i in lessons]
        if not prior.outputs:
            exact = Encoded(x_0 := prior.shown(lessons), torch.zeros_like(x_0))
            return ClassBatch(slots, weights, float(size), names, exact, prompts, told)
        asked = Lesson(*prior.noised(self.objective, lessons), torch.cat([prior.outputs[i] for i in lessons]))
        return PriorBatch(slots, weights, float(size), names, prompts, told, asked)


def _name(prior: Prior, index: int) -> str:
    return prior.names[index] if prior.names else str(index)


def prompts(captions: Sequence[str], *, trigger: str | None, words: Sequence[str], num: int, seed: int) -> list[str]:
    """`num` captions with a common word, never one of its own, for the trigger; "a photo of a WORD" for captions without it."""
    rng = random.Random(key(seed, "prior prompts"))
    taught = (trigger or "").lower().split()
    common = [word for word in words if word not in taught][:NUM_WORDS]
    named = mention(trigger) if trigger else re.compile(r"(?!)")
    made = []
    for index in range(num):
        caption, word = captions[index % len(captions)], rng.choice(common)
        made.append(named.sub(word, caption) if named.search(caption) else f"a photo of a {word}")
    return made


def drawn_by_seed(records: Sequence[ImageRecord], num: int | None, *, seed: int) -> tuple[ImageRecord, ...]:
    """`num` of the user's pictures for the prior, all if it is None, in their own order; which ones is decided by content, not by name."""
    order = sorted(range(len(records)), key=lambda i: key(seed, "prior picture", records[i].content_hash))
    return tuple(records[i] for i in sorted(order[:num]))


@dataclass(frozen=True)
class Pictured:
    """A picture that the base is asked about."""

    name: str
    prompt: str
    latents: Tensor
    """(1, C, H, W)."""
    identity: str
    """All that it depends on besides the base: names the answers in the cache."""


def pictured(records: Sequence[ImageRecord], encoding: Encoding, *, side_px: int) -> list[Pictured]:
    """The user's pictures, cropped to a square of that side; the means of their encodings, as the base's own pictures are exact too."""
    size = side_px, side_px
    views = encoding.examples(records, [size] * len(records), keep_prompts=True).views
    shown = [record_views(record, size, images=encoding.images)[0].identity() for record in records]
    return [
        Pictured(record.name, record.caption, seen[0].mean_BCHW.float(), repr((record.content_hash, view, record.caption)))
        for record, seen, view in zip(records, views, shown, strict=True)
    ]


def taught(pictures: Sequence[Pictured], conditionings: dict[str, Conditioning], *, seed: int) -> Prior:
    """Lessons that take the pictures as they are; nobody is asked."""
    names, prompts = [picture.name for picture in pictures], [picture.prompt for picture in pictures]
    return Prior([picture.latents for picture in pictures], prompts, (), conditionings, seed, names)


@dataclass(frozen=True)
class Asking:
    """Puts the questions to the base as it is, before anything is attached; answers are kept in the cache."""

    bundle: Bundle
    family: ModelFamily
    cache: TensorCache
    precision: torch.dtype

    def prior(self, wanted: Sequence[Request], conditionings: dict[str, Conditioning], *, seed: int) -> Prior:
        """About pictures that the base draws first. `conditionings` must hold every prompt and the empty one."""
        return self.prior_on(self.drawn(wanted), conditionings, seed=seed)

    def drawn(self, wanted: Sequence[Request]) -> list[Pictured]:
        """The base's own pictures, drawn once and kept."""
        latents = self._drawn(wanted)
        return [Pictured(str(i), request.prompt, latents[i], repr(request)) for i, request in enumerate(wanted)]

    def prior_on(self, pictures: Sequence[Pictured], conditionings: dict[str, Conditioning], *, seed: int) -> Prior:
        """About these pictures. `conditionings` must hold every prompt and the empty one."""
        knows = self.bundle.knows_empty
        asked = [picture.prompt if turn % 2 == 0 or not knows else "" for turn in range(LESSONS_EACH) for picture in pictures]
        latents, names = [picture.latents for picture in pictures], [picture.name for picture in pictures]
        return self._answered(Prior(latents, asked, (), conditionings, seed, names), pictures)

    def _drawn(self, wanted: Sequence[Request]) -> list[Tensor]:
        # with their number: an answer varies in its last digits with the batch that it was computed in
        keys = [entry_key("prior picture", str(len(wanted)), self._identity, str(self.precision), repr(request)) for request in wanted]

        def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
            latents = draw_latents(self.bundle, [wanted[i] for i in indices], precision=self.precision)
            return [{"latents": latents[row : row + 1].float().cpu()} for row in range(len(indices))]

        found = self.cache.get_many(keys, compute, chunk=AT_ONCE, name_of=lambda i: f"the prior picture of {wanted[i].prompt!r}")
        return [entry["latents"] for entry in found]

    def _answered(self, prior: Prior, pictures: Sequence[Pictured]) -> Prior:
        objective, device = self.bundle.objective, next(self.bundle.denoiser.parameters()).device
        asked = enumerate(prior.prompts)
        whole = [(self._identity, str(self.precision), pictures[i % len(pictures)].identity, text) for i, text in asked]
        keys = [entry_key("prior output", str(len(whole)), *parts, str(prior.seed), str(i)) for i, parts in enumerate(whole)]

        def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
            x_t, t = prior.noised(objective, indices)
            told = together(prior.conditionings, [prior.prompts[i] for i in indices]) or Conditioning()
            with torch.no_grad(), torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
                output = self.family.network(self.bundle, told.to(device))(x_t.to(device), t.to(device))
            return [{"output": output[row : row + 1].float().cpu()} for row in range(len(indices))]

        found = self.cache.get_many(keys, compute, chunk=AT_ONCE, name_of=lambda i: f"what the base says to {prior.prompts[i]!r}")
        return replace(prior, outputs=[entry["output"] for entry in found])

    @cached_property
    def _identity(self) -> str:
        return identity(self.bundle)


def words_of(family: ModelFamily, bundle: Bundle) -> list[str]:
    """The tokenizer's whole words of three letters or more, commonest first; empty for a model without words."""
    return [word for word in family.words(bundle) if len(word) > 2 and word.isalpha()]
