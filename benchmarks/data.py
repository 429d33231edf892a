"""How fast a folder is looked through, cold and again: `python benchmarks/data.py [--num N] [--side PX] [FOLDER]`.

Without FOLDER, N JPEGs are made from the photographs of scikit-image, each cut out elsewhere, with a caption beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--side", type=int, default=1024, help="pixels; 1024 makes pictures of a megapixel")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name) / "pictures"
        if not arguments.folder:
            draw(folder, num=arguments.num, side_px=arguments.side)
        record.warn_if_busy()
        found = {how: _timed(folder, cache=Path(name) / "cache") for how in ("cold", "warm")}
    for how, timed in found.items():
        print(f"{how}: {timed['pictures'] / timed['seconds']:.0f} pictures/s, {timed['seconds']:.2f} s, peak {timed['peak_mib']:.0f} MiB")
    print(record.write("data", {"side_px": arguments.side, **found}))


def draw(folder: Path, *, num: int, side_px: int) -> None:
    import numpy as np
    import skimage.data
    from PIL import Image

    folder.mkdir(parents=True)
    photographs = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in ("astronaut", "cat", "coffee", "rocket")]
    random = np.random.default_rng(0)
    for index in range(num):
        photograph = photographs[index % len(photographs)]
        side = int(min(photograph.size) * random.uniform(0.5, 1))
        left, top = (int(random.integers(0, whole - side + 1)) for whole in photograph.size)
        cut = photograph.crop((left, top, left + side, top + side)).resize((side_px, side_px), Image.Resampling.BICUBIC)
        cut.save(folder / f"{index:06d}.jpg", quality=92)
        (folder / f"{index:06d}.txt").write_text(f"photograph {index} of something")


def _timed(folder: Path, *, cache: Path) -> dict[str, float]:
    """In a process of its own, which has imported nothing before."""
    said = subprocess.run(
        [sys.executable, __file__, "--child", str(folder)], check=True, capture_output=True, text=True,
        env={**os.environ, "AQUATINT_CACHE": str(cache)},
    ).stdout  # fmt: skip
    timed: dict[str, float] = json.loads(said.splitlines()[-1])
    return timed


def child(folder: Path) -> None:
    import resource

    begun = time.perf_counter()
    from aquatint.data.records import survey
    from aquatint.data.settings import Images

    found = survey(folder, Images())
    seconds, kib = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "pictures": len(found.records), "findings": len(found.findings), "peak_mib": kib / 1024}))


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(Path(sys.argv[-1]))
    else:
        main()
