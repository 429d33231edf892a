"""Memory that a step frees stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from aquatint.core.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def step():
    blocks = [torch.ones(2**21) for _ in range(12)]  # 8 MiB each
    del blocks
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_no_page_is_asked_for_twice() -> None:
    faults = {}
    for how in ("kept", "given back"):
        said = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
        faults[how] = int(said)
    assert faults["kept"] < 1000
    assert faults["given back"] > 10 * faults["kept"]
