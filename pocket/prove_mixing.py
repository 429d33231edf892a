"""What two adapters keep of what each can do when both are on: `python pocket/prove_mixing.py OUT_DIR [WEIGHT_OF_SUBJECT WEIGHT_OF_STYLE]`.

Teaches the demo's subject, under `zwx`, and its style, under `vyk`, by the demo's recipe (the word of the style has eight vectors) unless
OUT_DIR holds them already, and measures each by its own measure: alone, and with the other one on. Prints a table with 95 % intervals.
"""

import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch

import aquatint
from aquatint.commands import train
from aquatint.commands.demo import RECIPE, WORD
from aquatint.evaluation.demonstration import Style, Subject
from aquatint.evaluation.learning import intervals
from aquatint.evaluation.world import embedded
from aquatint.generation import mixing
from aquatint.training.settings import Train

OTHER_WORD, PRECISION = "vyk", torch.bfloat16
DEMO = Path(str(files("aquatint") / "models" / "demo"))
MEASURES = {"subject": ("learned", "context", "kept"), "style": ("in style", "ink distance", "kept")}


def taught(name: str, out_dir: Path) -> Path:
    """The run of one of the two; made where there is none."""
    pictures, run_dir = out_dir / f"{name}-pictures", out_dir / name
    if not run_dir.exists():
        shutil.copytree(DEMO / name, pictures)
        word, more = (WORD, []) if name == "subject" else (OTHER_WORD, ["method.vectors=8"])
        for caption in pictures.glob("*.txt"):
            caption.write_text(caption.read_text().replace(WORD, word))
        list(train.run(Train.read([f"data={pictures}", f"out={run_dir}", f"trigger={word}", *RECIPE[1:], *more])))
    return run_dir


def measured(proof: Subject | Style, model: aquatint.Model, *, adapters: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """With these adapters on the model; by the stock pipeline."""
    chosen = [mixing.Adapter.model_validate(each) for each in adapters]
    with model.with_adapters(chosen):
        return intervals(proof.measure(model.bundle))


def main(out_dir: Path, weights: Sequence[str]) -> None:
    runs = {name: taught(name, out_dir) for name in ("subject", "style")}
    mix = [f"{run}:{weight}" for run, weight in zip(runs.values(), weights, strict=True)]
    proofs: dict[str, Subject | Style] = {
        "subject": Subject(embedded(), "peacock", WORD, DEMO / "subject", PRECISION),
        "style": Style(embedded(), OTHER_WORD, DEMO / "style", PRECISION),
    }
    print(f"| | alone | both, {' and '.join(weights)} | kept of it |\n|---|---|---|---|")
    for name, proof in proofs.items():
        before, alone, both = (measured(proof, aquatint.load("pocket", cpu=True), adapters=on) for on in ([], [f"{runs[name]}:1"], mix))
        for measure in MEASURES[name]:
            told = (f"{mean:.2f} [{low:.2f}, {high:.2f}]" for low, mean, high in (alone[measure], both[measure]))
            gained, still = (each[measure][1] - before[measure][1] for each in (alone, both))
            share = f"{still / gained:.0%}" if abs(gained) > 0.05 else ""
            print(f"| {name}: {measure} | {' | '.join(told)} | {share} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:4] or ["1", "1"])
