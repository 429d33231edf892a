"""Randomness as a function: every draw is named by (seed, step, slot, purpose) and nothing is remembered.

`slot` is the place of a sample in the global batch, counted over all processes and micro-batches, so a run is the
same for any number of processes, any accumulation, any number of resumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit number that depends on every part; equal parts give equal numbers on every machine."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class SampleRandom:
    """Draws for the samples of one micro-batch. Drawn on the CPU, so that every device sees the same numbers."""

    seed: int
    step: int
    slots: Sequence[int]

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal values, (B, *shape)."""
        return torch.stack([torch.randn(tuple(shape), generator=g) for g in self._generators(purpose)])

    def uniform(self, purpose: str) -> Tensor:
        """One value in [0, 1) for each sample, (B,)."""
        return torch.stack([torch.rand((), generator=g) for g in self._generators(purpose)])

    def _generators(self, purpose: str) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(key(self.seed, self.step, slot, purpose)) for slot in self.slots]
