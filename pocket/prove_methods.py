"""How the methods compare on one held-out thing: `python pocket/prove_methods.py OUT_DIR THING [METHOD …] [key=value …]`.

Each method learns the same five pictures by its recipe below, or those METHODs that are named; settings go above the recipes. Writes
`OUT_DIR/methods.md`, a table with 95 % intervals, and `OUT_DIR/methods.png`: a row for the base and for each method, a column a prompt.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from draw_demo import WORD, subject
from PIL.Image import Image

from aquatint.commands import train
from aquatint.commands.demo import RECIPE
from aquatint.core.family import Bundle
from aquatint.evaluation.demonstration import Subject
from aquatint.evaluation.learning import Interval, intervals, read_pictures
from aquatint.evaluation.quantities import num_bytes
from aquatint.evaluation.world import embedded
from aquatint.generation.sheet import sheet
from aquatint.recognition import recognise
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Train

RECIPES: Mapping[str, Sequence[str]] = {
    "dreambooth-lora": ("method=dreambooth-lora", "prior.preserve=outputs", "prior.weight=2", "method.convolutions=true", "lr=2.5e-3"),
    "textual_inversion": (
        "method=textual_inversion", "method.initialiser=auto", "method.vectors=16", "method.context=2", "loss.weighting=even", "steps=600",
    ),
    "pivotal": RECIPE[1:],
    "full": ("method=full",),
}  # fmt: skip
MEASURES = ("learned", "context", "kept")


@dataclass(frozen=True)
class Row:
    """What is told of the base, or of a method."""

    name: str
    measures: Mapping[str, Interval]
    pictures: Sequence[Image]
    file_bytes: int | None = None
    seconds: float | None = None


def prove(name: str, out_dir: Path, *, proof: Subject, settings: Sequence[str]) -> Row:
    """Train by a recipe, load the file as users do, and measure."""
    run_dir = out_dir / f"{name}-{int(time.time())}"
    config = Train.read([f"data={proof.pictures_dir}", f"out={run_dir}", f"trigger={WORD}", *_above(RECIPES[name], settings)])
    begun = time.perf_counter()
    for _ in train.run(config):
        pass
    seconds, facts = time.perf_counter() - begun, RunFolder(run_dir).read_facts()
    bundle = fresh(config)
    config.method.load(bundle, run_dir / facts["file"])
    return measured(name, bundle, proof=proof, file_bytes=facts["file_bytes"], seconds=seconds)


def measured(name: str, bundle: Bundle, *, proof: Subject, **more: float) -> Row:
    found = intervals(proof.measure(bundle))
    row = Row(name, {measure: found[measure] for measure in MEASURES}, proof.show(bundle), **more)
    print(f"{name:18}", *(f"{measure} {_percent(row.measures[measure])}" for measure in MEASURES), flush=True)
    return row


def fresh(config: Train) -> Bundle:
    return recognise(config.base, config.family).family.load(config.base).freeze()


def table(rows: Sequence[Row]) -> str:
    lines = ["| method | learned | context | kept | file | training |", "|---|---|---|---|---|---|"]
    for row in rows:
        size, took = (num_bytes(row.file_bytes), f"{row.seconds:.0f} s") if row.file_bytes and row.seconds else ("", "")
        lines.append(f"| {row.name} | {' | '.join(_percent(row.measures[name]) for name in MEASURES)} | {size} | {took} |")
    return "\n".join(lines) + "\n"


def main(out_dir: Path, thing: str, *, words: Sequence[str]) -> None:
    settings = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word] or list(RECIPES)
    pictures_dir = out_dir / thing / "pictures"
    subject(thing, pictures_dir)
    proof = Subject(embedded(), thing, WORD, pictures_dir, torch.bfloat16)
    rows = [measured("base", fresh(Train(data=pictures_dir)), proof=proof)]
    rows += [prove(name, out_dir / thing, proof=proof, settings=settings) for name in names]
    (out_dir / "methods.md").write_text(table(rows), encoding="utf-8")
    titles, pictures = [question.prompt for question in proof.shown()], list(read_pictures(pictures_dir))
    shown = [pictures[: len(titles)], *(row.pictures for row in rows)]
    sheet(shown, row_titles=["pictures", *(row.name for row in rows)], column_titles=titles).save(out_dir / "methods.png")
    print(table(rows))


def _above(recipe: Sequence[str], settings: Sequence[str]) -> list[str]:
    """What is given takes the place of what the recipe says of the same setting."""
    given = {setting.partition("=")[0] for setting in settings}
    return [*(setting for setting in recipe if setting.partition("=")[0] not in given), *settings]


def _percent(interval: Interval) -> str:
    low, mean, high = interval
    return "–" if math.isnan(mean) else f"{mean:.0%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], words=sys.argv[3:])
