"""Memory that a step frees stays with the process, and loading is not searched for garbage."""

import gc
import subprocess
import sys

import pytest

from aquatint.core.memory import unswept

PROGRAM = """
import resource, sys
import torch
from aquatint.core.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def step(index):
    # 8 MiB and a little more each time: glibc by itself keeps blocks no larger than any that it has given back
    blocks = [torch.ones(2**21 + 2**10 * index) for _ in range(12)]
    del blocks
for index in range(3):
    step(index)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for index in range(3, 13):
    step(index)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_no_page_is_asked_for_twice() -> None:
    faults = {}
    for how in ("kept", "given back"):
        said = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
        faults[how] = int(said)
    assert faults["kept"] < 1000
    assert faults["given back"] > 10 * max(faults["kept"], 1000)


def test_loading_is_not_swept_and_the_sweeping_goes_on_afterwards() -> None:
    with unswept():
        assert not gc.isenabled()
        with unswept():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no model"), unswept():
        raise ValueError("no model")
    assert gc.isenabled()
