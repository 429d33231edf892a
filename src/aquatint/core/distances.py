"""What an error costs, element by element."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

Distance = Callable[[Tensor], Tensor]
DistanceKind = Literal["mse", "huber", "smooth_l1"]


def huber(error: Tensor, delta: float) -> Tensor:
    """The square up to `delta`, a straight line beyond (Huber 1964), so that single large errors pull less."""
    size = error.abs()
    return torch.where(size <= delta, error.square(), delta * (2 * size - delta))


def smooth_l1(error: Tensor, delta: float) -> Tensor:
    """The same curve in the units of the absolute error: |error| - delta / 2 beyond `delta` (Girshick 2015)."""
    return huber(error, delta) / (2 * delta)


def distance_of(kind: DistanceKind, delta: float) -> Distance:
    """The plain square has no `delta`."""
    curves = {"huber": huber, "smooth_l1": smooth_l1}
    return partial(curves[kind], delta=delta) if kind in curves else torch.square
