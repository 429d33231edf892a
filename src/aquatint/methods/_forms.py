"""The forms that the update of a frozen weight can take: how many numbers each trains, and where it cannot be used.

A weight is known by its shape: (out, in, *kernel). With s = alpha / rank, and all of it through PEFT's layers:

    lora   W + s B A                                     Hu et al. 2021
    dora   m (W + s B A) / |W + s B A|, row by row       Liu et al. 2024
    loha   W + s (B1 A1) * (B2 A2), entry by entry       Hyeon-Woo et al. 2022 (FedPara)
    lokr   W + s C ⊗ (B A), or C ⊗ D                     Yeh et al. 2024 (LyCORIS)
    oft    W R, R orthogonal and in blocks               Qiu et al. 2023
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = Sequence[int]


@dataclass(frozen=True)
class Form:
    size: Callable[[Shape, int], int]
    """Shape and rank -> how many numbers are trained."""
    problem: Callable[[Shape, int], tuple[str, str] | None]
    """Shape and rank -> what such layers are that they do not fit, and what to do about it."""
    config: str
    """PEFT's class of settings."""
    names: Mapping[str, str]
    """Our settings -> PEFT's names for them. What is not here has no meaning for the form."""
    fixed: Mapping[str, Any]
    """Further settings of PEFT's."""
    has_sides: bool = False
    """Whether there are A and B, which may begin as principal components and learn at rates of their own."""
    rate: float = 1.0
    """Learning rate over that of `lora` at which a step moves the weight about as far."""


def balanced(number: int) -> tuple[int, int]:
    """The two factors of a number that lie nearest to its root, the smaller first: as LyCORIS and PEFT cut a side for `lokr`."""
    small = next(each for each in range(math.isqrt(number), 0, -1) if number % each == 0)
    return small, number // small


def _sides(shape: Shape) -> tuple[int, int]:
    return shape[0], math.prod(shape[1:])


def _lora(shape: Shape, rank: int) -> int:
    return rank * sum(_sides(shape))


def _dora(shape: Shape, rank: int) -> int:
    return _lora(shape, rank) + shape[0]


def _loha(shape: Shape, rank: int) -> int:
    return 2 * _lora(shape, rank)


def _lokr(shape: Shape, rank: int) -> int:
    (rows, more_rows), (columns, more_columns), kernel = balanced(shape[0]), balanced(shape[1]), math.prod(shape[2:])
    is_whole = 2 * rank >= max(more_rows, more_columns)
    second = more_rows * more_columns * kernel if is_whole else rank * (more_rows + more_columns * kernel)
    return rows * columns + second


def _oft(shape: Shape, rank: int) -> int:
    return math.prod(shape[1:]) * (rank - 1) // 2


def _too_small(shape: Shape, rank: int) -> tuple[str, str] | None:
    full = min(_sides(shape))
    return ("smaller", f"choose at most {full}, at which its update is complete") if rank > full else None


def _not_in_blocks(shape: Shape, rank: int) -> tuple[str, str] | None:
    if math.prod(shape[2:]) > 1:
        return "convolutions over several pixels, which PEFT cannot rotate", "leave them out"
    fitting = [side for side in range(2, shape[1] + 1) if shape[1] % side == 0]
    near = min(fitting, key=lambda side: abs(side - rank), default=None)
    return None if rank in fitting else ("not made of whole blocks of that side", f"try {near}")


_SCALED = {"rank": "r", "ranks": "rank_pattern", "alphas": "alpha_pattern"}
_LOW_RANK = {**_SCALED, "alpha": "lora_alpha", "dropout": "lora_dropout", "rank_stabilised": "use_rslora"}
_LYCORIS = {**_SCALED, "alpha": "alpha", "dropout": "rank_dropout"}
_IS_EXACT = {"use_cayley_neumann": False}
"""PEFT's series for the Cayley transform is orthogonal only nearly."""

FORMS = {
    "lora": Form(_lora, _too_small, "LoraConfig", _LOW_RANK, {}, has_sides=True),
    "dora": Form(_dora, _too_small, "LoraConfig", _LOW_RANK, {"use_dora": True}, has_sides=True),
    "loha": Form(_loha, _too_small, "LoHaConfig", _LYCORIS, {}, rate=10.0),  # three of its four factors are small numbers
    "lokr": Form(_lokr, lambda shape, rank: None, "LoKrConfig", _LYCORIS, {"rank_dropout_scale": True}),
    "oft": Form(_oft, _not_in_blocks, "OFTConfig", {"rank": "oft_block_size"}, _IS_EXACT),
}
