"""How fast this machine trains, how much memory that takes, and how long it is until the first step.

python benchmarks/rate.py [--base MODEL] [--steps N] [--batch-size N] [name=value ...]   (more settings of `aquatint train`)
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import record
from pictures import draw_folder
from timing import run_timed

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
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "run"
        draw_folder(data, num=2 * arguments.batch_size, side_px=arguments.side)
        chosen = [f"base={arguments.base}", f"steps={arguments.steps}", f"batch_size={arguments.batch_size}", *arguments.settings]
        timed = run_timed("timed_aquatint.py", [f"data={data}", f"out={out}", *QUIET, *chosen], cache_dir=Path(folder) / "cache")
    images = timed.steps_per_second * arguments.batch_size
    print(f"{timed.steps_per_second:.2f} steps/s ({images:.1f} images/s), peak memory {timed.peak_memory_gib:.2f} GiB, ", end="")
    print(f"first step after {timed.startup_seconds:.1f} s")
    print(record.write("rate", {"settings": chosen, "images_per_second": images, **asdict(timed)}))


if __name__ == "__main__":
    main()
