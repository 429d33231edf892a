"""Conjugate gradients (Hestenes & Stiefel 1952) for a posterior's mean, from products with matrices alone. B pictures, each by itself."""

from collections.abc import Callable

import torch
from torch import Tensor

from aquatint.core.process import expand

Product = Callable[[Tensor], Tensor]
"""A symmetric matrix for each picture, times a vector for each: (B, ...) -> (B, ...)."""
MOST_LOOKS = 16
"""A loss on a few numbers, like a mean colour, needs as many as there are numbers."""
NEAR_ENOUGH = 1e-3
"""Of the length that the remainder had at first; in the same measure."""


def shift(gradient: Tensor, covariance: Product, *, curvature: Product, most: int = MOST_LOOKS) -> tuple[Tensor, Tensor]:
    """d = (C^-1 + H)^-1 g, and d C^-1 d for each picture, (B,).

    It is found as C u where (I + H C) u = g: that matrix is symmetric in the product <a, b> = a C b. Each look takes one product with
    C and one with H. Where H is not positive along a direction it counts as 0 there and that picture's search ends, so that the
    first look is at worst the linear one, C g.
    """
    rest, c_rest = gradient, covariance(gradient)
    way, c_way, u, c_u = rest, c_rest, torch.zeros_like(rest), torch.zeros_like(rest)
    left = first = _dot(rest, c_rest)
    is_open = first > 0
    for _ in range(most):
        if not is_open.any():
            break
        bent = curvature(c_way)
        straight, curved = _dot(way, c_way), _dot(c_way, bent)
        length = torch.where(is_open, left / (straight + curved.clamp(min=0)), 0.0)
        u, c_u = u + expand(length, u) * way, c_u + expand(length, u) * c_way
        is_open = is_open & (curved > 0)
        rest = rest - expand(length, rest) * (way + bent)
        c_rest, before = covariance(rest), left
        left = _dot(rest, c_rest)
        is_open = is_open & (left > NEAR_ENOUGH**2 * first)
        turn = expand(torch.where(is_open, left / before, 0.0), rest)
        way, c_way = rest + turn * way, c_rest + turn * c_way
    return c_u, _dot(u, c_u)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
