"""Forward and backward of attention on this CPU, fused against plain matrix products, for short and long sequences.

What `families/_attention.py` decides by. Times are the best of several, in milliseconds, for 8 pictures and 4 heads of 40.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import record
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

SHAPES = ((16, 32), (64, 32), (64, 64), (256, 32), (256, 256), (1024, 77), (1024, 1024))
"""(query tokens, key tokens)"""
PICTURES, HEADS, WIDTH = 8, 4, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    record.warn_if_busy()
    rows = [_compare(shape, dtype, times=times) for dtype in (torch.bfloat16, torch.float32) for shape in SHAPES]
    for row in rows:
        print("{dtype:<9} {queries:>5} x {keys:<5} fused {fused_ms:8.2f} ms   plain {plain_ms:8.2f} ms   {ratio:5.2f}".format(**row))
    print(record.write("attention", {"pictures": PICTURES, "heads": HEADS, "width": WIDTH, "rows": rows}))


def plain(query: Tensor, key: Tensor, *, value: Tensor) -> Tensor:
    weights: Tensor = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return weights @ value


def _compare(shape: tuple[int, int], dtype: torch.dtype, *, times: int) -> dict[str, Any]:
    fused_ms, plain_ms = (_milliseconds(attend, shape, dtype=dtype, times=times) for attend in (scaled_dot_product_attention, plain))
    name = str(dtype).removeprefix("torch.")
    return {"dtype": name, "queries": shape[0], "keys": shape[1], "fused_ms": fused_ms, "plain_ms": plain_ms, "ratio": fused_ms / plain_ms}


def _milliseconds(attend: Callable[..., Tensor], shape: tuple[int, int], *, dtype: torch.dtype, times: int) -> float:
    lengths = (shape[0], shape[1], shape[1])
    query, key, value = (torch.randn(PICTURES, HEADS, length, WIDTH, dtype=dtype, requires_grad=True) for length in lengths)
    best = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        torch.autograd.grad(attend(query, key, value=value).sum(), (query, key, value))
        best = min(best, time.perf_counter() - begun)
    return best * 1000


if __name__ == "__main__":
    main()
