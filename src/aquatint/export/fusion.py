"""Layers that some programs keep as one matrix: queries, keys and values, and in FLUX the first layer of the MLP with them.

Several updates become one exactly when their factors are set along a diagonal: the rank is the sum, and most of the new
`up` is zero. Where all share one `down`, stacking their `up` is enough.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from aquatint.errors import BadFile
from aquatint.export.adapter import Factors


def fuse(parts: Sequence[Factors | None], *, widths: Sequence[int], name: str) -> Factors:
    """The update of the whole; None where a part has none. `widths`: outputs of each part.

    Raises `BadFile` for DoRA: its magnitudes belong to the parts' own directions, and there is no such adapter of the whole.
    """
    there = [part for part in parts if part is not None]
    if any(part.magnitude is not None for part in there):
        raise BadFile(f"{name}: DoRA keeps magnitudes for each of its {len(parts)} parts, which no fused layer can hold; "
                      "merge the adapter into its base, or use it in diffusers")  # fmt: skip
    first = there[0]
    if len(there) == len(parts) and all(torch.equal(p.down, first.down) and p.scale == first.scale for p in there):
        return Factors(first.down, torch.cat([p.up for p in there]), first.alpha)
    is_plain = len({p.alpha for p in there}) == 1 and len({p.rank for p in there}) == 1
    there = there if is_plain else [p.folded() for p in there]
    filled = iter(there)
    rank, dtype = max(p.rank for p in there), reduce(torch.promote_types, [p.up.dtype for p in there])
    down = torch.zeros(rank * len(parts), there[0].down.shape[1], dtype=dtype)
    up = torch.zeros(sum(widths), rank * len(parts), dtype=dtype)
    for index, (part, width) in enumerate(zip(parts, widths, strict=True)):
        if part is not None:
            placed, row, column = next(filled), sum(widths[:index]), rank * index
            down[column : column + placed.rank] = placed.down
            up[row : row + width, column : column + placed.rank] = placed.up
    alpha = there[0].alpha if is_plain else float(rank)
    return Factors(down, up, None if alpha is None else alpha * len(parts))


def split(whole: Factors, *, widths: Sequence[int]) -> list[Factors | None]:
    """The parts' own updates; None for a part that is left as it is.

    Blocks along a diagonal are taken apart again; otherwise all parts share `down`.
    """
    count, rows = len(widths), torch.split(whole.up, list(widths))
    if whole.rank % count == 0 and _is_diagonal(rows, whole.rank // count):
        rank, alpha = whole.rank // count, None if whole.alpha is None else whole.alpha / count
        downs = torch.split(whole.down, rank)
        parts = [Factors(downs[i], rows[i][:, i * rank : (i + 1) * rank], alpha) for i in range(count)]
    else:
        parts = [Factors(whole.down, row, whole.alpha) for row in rows]
    return [part if part.down.any() or part.up.any() else None for part in parts]


def widths_of(names: Sequence[str], *, num_inputs: int, num_outputs: int | None = None) -> list[int]:
    """Outputs of each part: as many as the inputs, and four times that for an MLP; a whole's outputs are shared out."""
    widths = [num_inputs * (4 if name.endswith("proj_mlp") else 1) for name in names]
    if num_outputs is not None and sum(widths) != num_outputs:
        side = num_outputs // len(names)
        widths = [side] * (len(names) - 1) + [num_outputs - side * (len(names) - 1)]
    return widths


def _is_diagonal(rows: Sequence[Tensor], rank: int) -> bool:
    return all(not row[:, : i * rank].any() and not row[:, (i + 1) * rank :].any() for i, row in enumerate(rows))
