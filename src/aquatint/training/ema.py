"""Exponential moving average of the trained tensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """average <- decay * average + (1 - decay) * value, with the decay rising as (1 + n) / (10 + n) to its limit."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float):
        self._parameters, self._decay = dict(parameters), decay
        self.average: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self._parameters.values()], 1 - decay)

    @torch.no_grad()
    def restore(self, average: Mapping[str, Tensor]) -> None:
        """Go on from a saved average."""
        for name, value in self.average.items():
            value.copy_(average[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters hold the average."""
        kept = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._assign(self.average)
        try:
            yield
        finally:
            self._assign(kept)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
