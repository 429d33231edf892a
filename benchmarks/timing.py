"""Child processes that tell when each optimizer step ended, and what follows from that."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Timed:
    """One training run, by the wall clock."""

    startup_seconds: float
    """From the start of the process to the end of the first step: imports, loading, caching."""
    steps_per_second: float
    """After the first steps, which warm caches up."""
    total_seconds: float
    peak_memory_gib: float
    """Resident memory of the process on a CPU, allocated memory on a GPU; up to the last step."""
    num_steps: int


def run_timed(script: str, arguments: Sequence[str], *, cache_dir: Path) -> Timed:
    """Run one of the `timed_*.py` beside this file. Raises RuntimeError with its last words when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "times.json"
        caches = {"AQUATINT_CACHE": str(cache_dir), "HF_DATASETS_CACHE": str(cache_dir / "datasets")}
        environment = {**os.environ, **caches, "HF_HUB_OFFLINE": "1"}
        begun = time.time()
        ended = subprocess.run([sys.executable, str(HERE / script), str(out), *arguments], capture_output=True, text=True, env=environment)
        total = time.time() - begun
        if ended.returncode or not out.is_file():
            raise RuntimeError(f"{script} ended with {ended.returncode}:\n{ended.stdout[-1500:]}\n{ended.stderr[-3000:]}")
        told = json.loads(out.read_text())
    return summarize(told["times"], begun=begun, total_seconds=total, peak_bytes=told["peak_bytes"])


def summarize(times: Sequence[float], *, begun: float, total_seconds: float, peak_bytes: int) -> Timed:
    """`times`: when each step ended, in seconds since the epoch."""
    if len(times) < 3:
        raise RuntimeError(f"{len(times)} steps are too few to time; give more")
    skipped = min(max(1, len(times) // 10), len(times) - 2)
    rate = (len(times) - 1 - skipped) / (times[-1] - times[skipped])
    return Timed(times[0] - begun, rate, total_seconds, peak_bytes / 2**30, len(times))


class Stopwatch:
    """Held by the child: one `tick` a step, written at the end."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.peak_bytes = 0

    def tick(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.time())
        self.peak_bytes = max(self.peak_bytes, _peak_bytes())

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"times": self.times, "peak_bytes": self.peak_bytes}))


def _peak_bytes() -> int:
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
