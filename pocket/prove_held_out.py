"""The demo's proof on other held-out things: `python pocket/prove_held_out.py OUT_DIR THINGS [key=value …]`.

THINGS are names joined by commas, or a number of them; settings go to `aquatint train`, after those of the demo. Prints one line a
thing and how many pass the demo's bounds.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from draw_demo import WORD, subject
from things import HELD_OUT

from aquatint.commands import train
from aquatint.commands.demo import RECIPE
from aquatint.evaluation.demonstration import Subject
from aquatint.evaluation.world import World, embedded
from aquatint.recognition import recognise
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Train

MEASURES = ("learned", "context", "kept")


def prove(thing: str, out_dir: Path, *, world: World, settings: Sequence[str]) -> dict[str, float]:
    """Means before and after, and the seconds of training."""
    pictures_dir, run_dir = out_dir / thing / "pictures", out_dir / thing / f"run-{int(time.time())}"
    subject(thing, pictures_dir)
    proof = Subject(world, thing, WORD, pictures_dir, torch.bfloat16)
    config = Train.read([f"data={pictures_dir}", f"out={run_dir}", *RECIPE, *settings])
    bundle = recognise(config.base).family.load(config.base).freeze()
    before = proof.measure(bundle)
    begun = time.perf_counter()
    for _ in train.run(config):
        pass
    seconds = time.perf_counter() - begun
    config.method.load(bundle, run_dir / RunFolder(run_dir).read_facts()["file"])
    after = proof.measure(bundle)
    means = {f"{name} {when}": sum(m[name]) / len(m[name]) for when, m in (("before", before), ("after", after)) for name in MEASURES}
    return {**means, "seconds": seconds}


def passes(found: dict[str, float]) -> bool:
    is_learned = found["learned before"] <= 0.05 and found["learned after"] >= 0.6
    return is_learned and found["context after"] >= 0.85 and found["kept after"] >= found["kept before"] - 0.05


def main(out_dir: Path, things: str, *, settings: Sequence[str]) -> None:
    names = list(HELD_OUT)[1 : 1 + int(things)] if things.isdigit() else things.split(",")
    world, num_passed = embedded(), 0
    for thing in names:
        found = prove(thing, out_dir, world=world, settings=settings)
        num_passed += passes(found)
        print(f"{thing:16}", *(f"{name} {value:.2f}" for name, value in found.items()), "ok" if passes(found) else "NO", flush=True)
    print(f"{num_passed} of {len(names)} pass")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], settings=sys.argv[3:])
