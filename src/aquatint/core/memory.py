"""How the process handles memory: what a step frees is kept for the next one, and loading is not swept.

glibc gives large freed blocks back to the system, which hands them out again page by page, zeroed: a tenth of a small network's
training step on a CPU (`benchmarks/memory.py`).
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MIB = 2**20
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Names and numbers of glibc's malloc.h; see `man mallopt`."""
SETTINGS = {M_MMAP_THRESHOLD: 32 * MIB, M_TRIM_THRESHOLD: 2047 * MIB, M_TOP_PAD: 256 * MIB}
"""Blocks of up to 32 MiB, which is the most it takes, come from the heap; the heap grows in large steps and does not shrink."""


def keep_freed_memory() -> bool:
    """For the whole process. False where the C library is another one; then nothing is changed."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in SETTINGS.items())


@contextmanager
def unswept() -> Iterator[None]:
    """For importing and loading, which make a million objects and hardly any garbage: searching them for it a thousand times over
    takes a fifth of the start. Also a decorator."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
