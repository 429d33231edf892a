"""What guidance does to the embedded model's pictures: `python pocket/prove_guidance.py OUT_DIR [color] [clip] [num=N] [name=value …]`.

*color*: things without a place, moved to one of four colours. How far the mean colour comes towards it, and whether an independent judge
still sees the thing. *clip*: nothing is said to the model; the text is a caption of its world, and CLIP and the judge are asked what
was drawn. The guidance is as it comes, but for the settings that are given. Writes `OUT_DIR/guidance.md`, a table with 95 % intervals,
and a picture for each. The judge never steers.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from PIL.ImageColor import getrgb

from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.evaluation.judge import right
from aquatint.evaluation.learning import Interval, Measures, Question, intervals, pixels_of, questions
from aquatint.evaluation.world import World, embedded
from aquatint.families import sd
from aquatint.generation.sampling import draw_steered
from aquatint.generation.sheet import sheet
from aquatint.guidance.base import Guidance

COLOURS = ("teal", "crimson", "gold", "navy")
NUM, STEPS, AT_ONCE = 96, 20, 8
"""Pictures of each proof; a caption or a colour has `AT_ONCE` of them in a row."""
FIRST_SEED = 7000


def drawn(bundle: Bundle, asked: Sequence[Question], *, guide: Sequence[Mapping[str, Any]], scale: float) -> list[Image]:
    """A guidance for each group of `AT_ONCE`, or none."""
    found: list[Image] = []
    for start in range(0, len(asked), AT_ONCE):
        requests = [Request(each.prompt, each.seed, num_steps=STEPS, scale=scale) for each in asked[start : start + AT_ONCE]]
        wishes = [Guidance.resolve(guide[start // AT_ONCE])] if guide else []
        found += draw_steered(bundle, requests, batch_size=AT_ONCE, guidances=wishes)
    return found


def things(world: World, num: int) -> list[Question]:
    """Prompts that name a thing alone, so that the place is free."""
    phrases = [(phrase, thing) for thing, phrase in world.trained.items()]
    step = max(1, len(phrases) // num)
    asked = questions(phrases[::step][:num], world.places, num=num, seed=FIRST_SEED)
    return [Question(world.trained[each.thing], each.thing, each.place, each.seed) for each in asked]


def color(world: World, bundle: Bundle, *, num: int, settings: Mapping[str, Any]) -> tuple[Measures, list[list[Image]]]:
    """*way*: share of the way from the mean colour without guidance to the target; *thing* before and after: seen by the judge."""
    asked = things(world, num)
    colours = [COLOURS[start // AT_ONCE % len(COLOURS)] for start in range(0, num, AT_ONCE)]
    guide = [{"kind": "color", **settings, "target": colour} for colour in colours]
    plain, steered = (drawn(bundle, asked, guide=each, scale=Request.scale) for each in ([], guide))
    targets = torch.tensor([getrgb(colours[index // AT_ONCE]) for index in range(num)]) / 127.5 - 1
    before, after = (pixels_of(pictures).mean((2, 3)) for pictures in (plain, steered))
    way = ((after - before) * (targets - before)).sum(1) / (targets - before).square().sum(1)
    seen = [_seen(world, pictures, asked=asked)[0] for pictures in (plain, steered)]
    lost = [a - b for a, b in zip(*seen, strict=True)]
    return {"way": way.tolist(), "thing before": seen[0], "thing after": seen[1], "lost": lost}, [plain, steered]


def clip(world: World, bundle: Bundle, *, num: int, settings: Mapping[str, Any]) -> tuple[Measures, list[list[Image]]]:
    """*caption*: of all of the world's captions CLIP finds the one that was asked for nearest; *thing*, *place*: seen by the judge."""
    phrases = [(phrase, thing) for thing, phrase in world.trained.items()]
    groups = max(1, num // AT_ONCE)
    texts = questions(phrases[3 :: max(1, len(phrases) // groups)][:groups], world.places, num=groups, seed=0)
    asked = [Question("", text.thing, text.place, FIRST_SEED + i * AT_ONCE + j) for i, text in enumerate(texts) for j in range(AT_ONCE)]
    guide = [{"kind": "clip", **settings, "text": text.prompt} for text in texts]
    plain, steered = (drawn(bundle, asked, guide=each, scale=1.0) for each in ([], guide))
    captions = [f"{phrase} {place}" for phrase, _ in phrases for place in world.places]
    wanted = torch.tensor([captions.index(texts[index // AT_ONCE].prompt) for index in range(len(asked))])
    measures: dict[str, list[float]] = {}
    for name, pictures in (("before", plain), ("after", steered)):
        nearest = world.clip.among_texts(pictures, captions).argmax(1)
        measures[f"caption {name}"] = (nearest == wanted).float().tolist()
        measures[f"thing {name}"], measures[f"place {name}"] = _seen(world, pictures, asked=asked)
    return measures, [plain, steered]


PROOFS = {"color": color, "clip": clip}


def _seen(world: World, pictures: Sequence[Image], *, asked: Sequence[Question]) -> tuple[list[float], list[float]]:
    found = right(world.judge, pixels_of(pictures), things=[each.thing for each in asked], places=[each.place for each in asked])
    things, places = (each.float().tolist() for each in found)
    return things, places


def table(rows: Mapping[str, Mapping[str, Interval]]) -> str:
    lines = ["| proof | measure | mean | 95 % interval |", "|---|---|---|---|"]
    for name, found in rows.items():
        lines += [f"| {name} | {measure} | {mean:.1%} | {low:.1%} to {high:.1%} |" for measure, (low, mean, high) in found.items()]
    return "\n".join(lines) + "\n"


def main(out_dir: Path, words: Sequence[str]) -> None:
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    num, names = int(settings.pop("num", NUM)), [word for word in words if "=" not in word] or list(PROOFS)
    out_dir.mkdir(parents=True, exist_ok=True)
    world, bundle, rows = embedded(), sd.load("pocket").freeze(), {}
    for name in names:
        begun = time.perf_counter()
        measures, pictures = PROOFS[name](world, bundle, num=num, settings=settings)
        rows[name] = intervals(measures)
        shown = [[each[index] for index in range(0, num, max(1, num // 12))][:12] for each in pictures]
        sheet(shown, row_titles=["without", "with"], column_titles=[""] * len(shown[0])).save(out_dir / f"{name}.png")
        print(table({name: rows[name]}), f"{time.perf_counter() - begun:.0f} s", flush=True)
    (out_dir / "guidance.md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
