"""What the data side hands to the training side, and how a batch is put together from the cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from aquatint.core.family import Conditioning, Encoded
from aquatint.core.objective import Lesson, Objective
from aquatint.core.randomness import SampleRandom
from aquatint.data.plan import BatchPlan, MicroPlan

T = TypeVar("T")
Encode = Callable[[Sequence[str]], Conditioning]
"""A text encoder that is trained must see the prompts itself, at every step."""


class AnyBatch(Protocol):
    """What the loss is computed from: one micro-batch, all of one size."""

    @property
    def slots(self) -> Sequence[int]: ...
    @property
    def weight_B(self) -> Tensor: ...
    @property
    def total_weight(self) -> float: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def num_own(self) -> int:
        """How many are pictures to learn; they come first, and what follows is the prior's."""

    @property
    def prompts(self) -> tuple[str, ...]: ...
    @property
    def size(self) -> tuple[int, ...]:
        """(C, H, W) of a sample."""

    def lesson(self, objective: Objective, random: SampleRandom) -> Lesson:
        """On the CPU, where all that is random is drawn."""

    def told(self, encode: Encode) -> Conditioning:
        """The prompts, encoded beforehand or now."""


@dataclass(frozen=True)
class Batch:
    """Pictures of the user's."""

    slots: Sequence[int]
    weight_B: Tensor
    total_weight: float
    names: Sequence[str]
    encoded: Encoded
    prompts: tuple[str, ...]
    conditioning: Conditioning | None
    """The prompts, encoded; None when they are not the same at every step."""

    @property
    def num_own(self) -> int:
        return len(self.slots)

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.encoded.mean_BCHW.shape[1:])

    def lesson(self, objective: Objective, random: SampleRandom) -> Lesson:
        mean, std = self.encoded.mean_BCHW.float(), self.encoded.std_BCHW.float()
        x_0 = mean + std * random.normal("posterior", mean.shape[1:])
        return replace(objective.lesson(x_0, random=random), mask_B1HW=self.encoded.mask_B1HW)

    def told(self, encode: Encode) -> Conditioning:
        return self.conditioning or encode(self.prompts)


@dataclass(frozen=True)
class Joint:
    """Two micro-batches of one size as one, for the network is faster once than twice; the prior's is the second."""

    first: AnyBatch
    second: AnyBatch

    @property
    def slots(self) -> Sequence[int]:
        return [*self.first.slots, *self.second.slots]

    @property
    def weight_B(self) -> Tensor:
        return torch.cat([self.first.weight_B, self.second.weight_B * (self.first.total_weight / self.second.total_weight)])

    @property
    def total_weight(self) -> float:
        return self.first.total_weight

    @property
    def names(self) -> Sequence[str]:
        return [*self.first.names, *self.second.names]

    @property
    def num_own(self) -> int:
        return self.first.num_own + self.second.num_own

    @property
    def prompts(self) -> tuple[str, ...]:
        return self.first.prompts + self.second.prompts

    @property
    def size(self) -> tuple[int, ...]:
        return self.first.size

    def lesson(self, objective: Objective, random: SampleRandom) -> Lesson:
        first, second = (replace(random, slots=part.slots) for part in (self.first, self.second))
        return self.first.lesson(objective, first) + self.second.lesson(objective, second)

    def told(self, encode: Encode) -> Conditioning:
        first, second = self.first.told(encode), self.second.told(encode)
        return Conditioning({name: torch.cat([first[name], second[name].to(first[name].device)]) for name in first})


@dataclass(frozen=True)
class Examples:
    """The whole training set in the network's own terms."""

    names: Sequence[str]
    prompts: Sequence[Sequence[str]]
    """For each sample all that it may be told, equally often."""
    views: Sequence[Sequence[Encoded]]
    """For each sample its encodings, (1, C, H, W): its crops, each as it is, and mirrored where flips were asked for."""
    conditionings: dict[str, Conditioning]
    """Prompt -> its encoding, batch of one; empty when the text encoder is trained."""

    def first(self, num: int) -> "Examples":
        return Examples(self.names[:num], self.prompts[:num], self.views[:num], self.conditionings)


@dataclass(frozen=True)
class BatchSource:
    """Step -> the micro-batches of this process; a pure function."""

    examples: Examples
    plan: BatchPlan
    seed: int
    caption_dropout: float = 0.0
    """Share of samples that are shown without their caption, so that guidance has something to compare with."""

    def __call__(self, step: int) -> list[Batch]:
        return [self._batch(step, micro) for micro in self.plan(step)]

    def _batch(self, step: int, micro: MicroPlan) -> Batch:
        slots = [int(slot) for slot in micro.slots]
        random = SampleRandom(self.seed, step, slots)
        names = [self.examples.names[i] for i in micro.indices]
        prompts = self._prompts(micro, random)
        weights, told = torch.as_tensor(micro.weights, dtype=torch.float32), together(self.examples.conditionings, prompts)
        return Batch(slots, weights, float(micro.total_weight), names, self._encoded(micro, random), prompts, told)

    def _prompts(self, micro: MicroPlan, random: SampleRandom) -> tuple[str, ...]:
        known = [self.examples.prompts[i] for i in micro.indices]
        prompts = _drawn(known, random, purpose="caption")
        if not self.caption_dropout:
            return tuple(prompts)
        kept = (random.uniform("caption dropout") >= self.caption_dropout).tolist()
        return tuple(prompt if keep else "" for prompt, keep in zip(prompts, kept, strict=True))

    def _encoded(self, micro: MicroPlan, random: SampleRandom) -> Encoded:
        chosen = _drawn([self.examples.views[i] for i in micro.indices], random, purpose="flip")
        masks = None if all(c.mask_B1HW is None for c in chosen) else torch.cat([_mask(c) for c in chosen])
        return Encoded(torch.cat([c.mean_BCHW for c in chosen]), torch.cat([c.std_BCHW for c in chosen]), masks)


def _mask(encoded: Encoded) -> Tensor:
    return torch.ones_like(encoded.mean_BCHW[:, :1]) if encoded.mask_B1HW is None else encoded.mask_B1HW


def _drawn(of_each: Sequence[Sequence[T]], random: SampleRandom, *, purpose: str) -> list[T]:
    """One of several for each sample of a batch; nothing is drawn where there is nothing to choose."""
    if max(map(len, of_each)) == 1:
        return [only[0] for only in of_each]
    return [some[int(place * len(some))] for some, place in zip(of_each, random.uniform(purpose).tolist(), strict=True)]


def together(conditionings: Mapping[str, Conditioning], prompts: Sequence[str]) -> Conditioning | None:
    """One conditioning for a batch of prompts; None where nothing was encoded beforehand."""
    if not conditionings:
        return None
    rows = [conditionings[prompt] for prompt in prompts]
    return Conditioning({name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def joined(first: AnyBatch, second: AnyBatch) -> list[AnyBatch]:
    """One micro-batch where the sizes agree, else both."""
    return [Joint(first, second)] if first.size == second.size else [first, second]
