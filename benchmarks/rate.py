"""How fast this machine trains, how much memory that takes, and how long it is until the first step.

python benchmarks/rate.py [--base MODEL] [--steps N] [--batch-size N] [name=value ...]   (more settings of `aquatint train`)
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import record
from pictures import draw_folder
from timing import Timed, run_timed

QUIET = ("samples.every=0", "validation.every=0", "checkpoints.every=0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="a base model, as in `aquatint train base=…`")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--side", type=int, default=128, help="side of the pictures, pixels")
    parser.add_argument("settings", nargs="*", help="more settings, such as method=full precision=fp32")
    arguments = parser.parse_args()
    record.warn_if_busy()
    chosen = [f"base={arguments.base}", f"batch_size={arguments.batch_size}", *arguments.settings]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_folder(folder / "data", num=2 * arguments.batch_size, side_px=arguments.side)
        cold, warm = (_timed(folder, out, settings=[f"steps={steps}", *chosen]) for out, steps in (("cold", 3), ("warm", arguments.steps)))
    images = warm.steps_per_second * arguments.batch_size
    print(f"{warm.steps_per_second:.2f} steps/s ({images:.1f} images/s), peak memory {warm.peak_memory_gib:.2f} GiB, ", end="")
    print(f"first step after {warm.startup_seconds:.1f} s, {cold.startup_seconds:.1f} s with an empty cache")
    found = {"settings": chosen, "images_per_second": images, "startup_seconds_with_empty_cache": cold.startup_seconds, **asdict(warm)}
    print(record.write("rate", found))


def _timed(folder: Path, out: str, *, settings: Sequence[str]) -> Timed:
    given = [f"data={folder / 'data'}", f"out={folder / out}", *QUIET, *settings]
    return run_timed("timed_aquatint.py", given, cache_dir=folder / "cache")


if __name__ == "__main__":
    main()
