"""Who says what a small picture shows: a linear classifier on the features of the embedded CLIP model."""

from collections.abc import Sequence
from functools import cache

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from aquatint.evaluation.world import World, embedded

DECAY = 1e-2


@cache
def world() -> World:
    return embedded()


def features(pictures: Sequence[Image.Image]) -> Tensor:
    """(B, D)"""
    return world().clip.features(pictures)


class Classifier:
    """Multinomial logistic regression, fitted to the end: equal pictures give equal answers."""

    def __init__(self, pictures: Sequence[Image.Image], classes: Sequence[str]):
        self.names = sorted(set(classes))
        seen, wanted = features(pictures), torch.tensor([self.names.index(name) for name in classes])
        self._mean, self._std = seen.mean(0), seen.std(0) + 1e-6
        self._weight = torch.zeros(seen.shape[1], len(self.names), requires_grad=True)
        self._bias = torch.zeros(len(self.names), requires_grad=True)
        optimizer = torch.optim.LBFGS([self._weight, self._bias], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> float:
            optimizer.zero_grad()
            found = cross_entropy(self._logits(seen), wanted) + DECAY / 2 * self._weight.square().sum()
            found.backward()
            return float(found.detach())

        optimizer.step(loss)

    def __call__(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The class of each."""
        with torch.no_grad():
            return [self.names[number] for number in self._logits(features(pictures)).argmax(1).tolist()]

    def _logits(self, seen: Tensor) -> Tensor:
        return (seen - self._mean) / self._std @ self._weight + self._bias


def share(found: Sequence[str], wanted: Sequence[str]) -> tuple[float, float, float]:
    """How many are right, with Wilson's (1927) interval at 95 %: (low, share, high)."""
    num, z = len(wanted), 1.959964
    right = sum(a == b for a, b in zip(found, wanted, strict=True)) / num
    middle, half = right + z**2 / (2 * num), z * (right * (1 - right) / num + z**2 / (4 * num**2)) ** 0.5
    return (middle - half) / (1 + z**2 / num), right, (middle + half) / (1 + z**2 / num)
