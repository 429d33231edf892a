"""Which samples make up each step: a pure function, so a resumed run and any number of processes see the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aquatint.core.randomness import key

Integers = np.ndarray[Any, np.dtype[np.int64]]
ENOUGH_BATCHES = 8
"""An epoch of fewer full batches than this is repeated until its batches are all full."""


@dataclass(frozen=True)
class MicroPlan:
    """One forward pass of one process."""

    indices: tuple[int, ...]
    """Of the records."""
    slots: tuple[int, ...]
    """Place of each sample in the global batch; the same for any split of it."""
    weights: tuple[float, ...]
    """Of each sample's loss; 0 marks padding."""
    epoch_of_each: tuple[int, ...]
    """How often the record was shown before in this run: epoch * repeats + repeat."""
    total_weight: float
    """What the weighted losses of the global batch are divided by: its samples times the mean weight of all records. The batch's own
    weights would cancel out where it holds one picture, or pictures of one weight."""


@dataclass(frozen=True)
class BatchPlan:
    """Batches of one bucket each; every record exactly `repeats` times an epoch.

    A step's global batch is the next batch_size * accumulate * num_processes samples of a bucket, fewer at the bucket's
    end. It is dealt out in equal parts; every process gets equally many micro-batches, none of them empty.
    """

    bucket_ids: Sequence[int]
    """Of each record; equal ids may share a batch."""
    batch_size: int
    """Largest micro-batch."""
    accumulate: int = 1
    """Most micro-batches a step and process."""
    num_processes: int = 1
    rank: int = 0
    repeats: int = 1
    seed: int = 0
    weights: Sequence[float] | None = None
    """Of each record's loss, > 0; none: all 1."""

    def __post_init__(self) -> None:
        if not len(self.bucket_ids):
            raise ValueError("there are no records to plan for")
        if min(self.batch_size, self.accumulate, self.num_processes, self.repeats) < 1 or not 0 <= self.rank < self.num_processes:
            raise ValueError("batch_size, accumulate, num_processes and repeats must be at least 1, rank below num_processes")
        if self.weights is not None and (len(self.weights) != len(self.bucket_ids) or min(self.weights) <= 0):
            raise ValueError("weights must be positive, one for each record; leave out records that weigh nothing")

    @property
    def global_batch_size(self) -> int:
        return self.batch_size * self.accumulate * self.num_processes

    @property
    def steps_per_epoch(self) -> int:
        return len(self._batches)

    def plan(self, step: int) -> tuple[MicroPlan, ...]:
        """The micro-batches of this process in optimizer step `step`, from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng(key(self.seed, epoch, "batches")).permutation(self.steps_per_epoch)
        bucket, start = self._batches[order[place]]
        indices, passes = self._samples(bucket, start, epoch=epoch)
        weights = np.ones(len(indices)) if self.weights is None else np.asarray(self.weights, np.float64)[indices]
        num_micro = -(-len(indices) // (self.batch_size * self.num_processes))
        parts = np.array_split(np.arange(len(indices)), num_micro * self.num_processes)
        total = len(indices) * self._mean_weight
        return tuple(
            self._micro(parts[micro * self.num_processes + self.rank], indices, passes=passes, weights=weights, total=total)
            for micro in range(num_micro)
        )

    __call__ = plan

    def _micro(self, part: Integers, indices: Integers, *, passes: Integers, weights: np.ndarray[Any, Any], total: float) -> MicroPlan:
        if not len(part):  # a process without a sample must still take part in the exchange of gradients
            return MicroPlan((int(indices[0]),), (len(indices) + self.rank,), (0.0,), (int(passes[0]),), total)
        return MicroPlan(
            tuple(indices[part].tolist()), tuple(part.tolist()), tuple(weights[part].tolist()), tuple(passes[part].tolist()), total
        )

    @cached_property
    def _mean_weight(self) -> float:
        return 1.0 if self.weights is None else float(np.mean(self.weights, dtype=np.float64))

    @cached_property
    def _buckets(self) -> dict[int, Integers]:
        """Bucket id -> its records, ascending."""
        ids = np.asarray(self.bucket_ids, np.int64)
        return {int(bucket): np.flatnonzero(ids == bucket) for bucket in np.unique(ids)}

    @cached_property
    def _batches(self) -> list[tuple[int, int]]:
        """(bucket id, first of its samples) of every global batch of an epoch, before shuffling."""
        size = self.global_batch_size
        return [(bucket, start) for bucket, records in self._buckets.items() for start in range(0, len(records) * self.repeats, size)]

    def _samples(self, bucket: int, start: int, *, epoch: int) -> tuple[Integers, Integers]:
        """Records of one global batch and the pass each belongs to: a stretch of permutations laid end to end."""
        records = self._buckets[bucket]
        num = len(records)
        end = min(start + self.global_batch_size, num * self.repeats)
        repeats = range(start // num, -(-end // num))
        orders = [records[np.random.default_rng(key(self.seed, epoch, bucket, repeat, "records")).permutation(num)] for repeat in repeats]
        passes = np.repeat(epoch * self.repeats + np.asarray(repeats), num)
        stretch = slice(start - repeats[0] * num, end - repeats[0] * num)
        return np.concatenate(orders)[stretch], passes[stretch]


def derived_repeats(num_records: int, global_batch: int) -> int:
    """Repeats that fill the batches of a small set exactly; 1 for a set of at least eight batches."""
    return 1 if num_records >= ENOUGH_BATCHES * global_batch else global_batch
