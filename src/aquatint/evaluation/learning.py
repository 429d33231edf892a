"""What a fine-tuning of the embedded model changed: learned, in context, kept. Each measure is one number a picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.data.transforms import to_tensor
from aquatint.evaluation.clip_scores import ClipScores
from aquatint.evaluation.judge import Judge, right
from aquatint.evaluation.statistics import bootstrap
from aquatint.generation.drawing import draw

Interval = tuple[float, float, float]
"""(low, mean, high)"""
Measures = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Question:
    """A prompt, and what its picture should show."""

    prompt: str
    thing: str
    place: str
    seed: int


@dataclass(frozen=True)
class Drawn:
    questions: Sequence[Question]
    pictures: Sequence[Image]


def questions(phrases: Sequence[tuple[str, str]], places: Sequence[str], *, num: int, seed: int) -> list[Question]:
    """`num` questions that go through all pairs of (phrase, thing) and place evenly; seeds count up from `seed`."""
    step = len(phrases)
    chosen = [(phrases[index % step], places[(index // step + index) % len(places)]) for index in range(num)]
    return [Question(f"{phrase} {place}", thing, place, seed + index) for index, ((phrase, thing), place) in enumerate(chosen)]


def answer(bundle: Bundle, asked: Sequence[Question], *, precision: torch.dtype, batch_size: int = 32) -> Drawn:
    """Draw every question with the same settings, 20 steps at scale 5."""
    requests = [Request(q.prompt, q.seed, num_steps=20) for q in asked]
    return Drawn(asked, list(draw(bundle, requests, batch_size=batch_size, precision=precision)))


def subject_measures(drawn: Drawn, *, judge: Judge, clip: ClipScores, references: Sequence[Image]) -> Measures:
    """*learned* and *context* (0 or 1 a picture), and similarities to the place's words and to the subject's pictures."""
    learned, context = _right(drawn, judge)
    return {
        "learned": learned,
        "context": context,
        "CLIP-text": clip.to_texts(drawn.pictures, [q.place for q in drawn.questions]),
        "CLIP-image": clip.to_pictures(drawn.pictures, references),
    }


def kept_measures(drawn: Drawn, *, judge: Judge) -> Measures:
    """*kept*: whether pictures of other prompts still show their thing."""
    return {"kept": _right(drawn, judge)[0]}


def intervals(measures: Measures) -> dict[str, Interval]:
    """Bootstrap confidence interval (95 %) of every mean."""
    return {name: bootstrap(values) for name, values in measures.items()}


def pixels_of(pictures: Sequence[Image]) -> Tensor:
    """(B, 3, H, W) in [-1, 1]."""
    return torch.stack([to_tensor(picture.convert("RGB")) for picture in pictures])


def _right(drawn: Drawn, judge: Judge) -> tuple[list[float], list[float]]:
    asked = drawn.questions
    things, places = right(judge, pixels_of(drawn.pictures), things=[q.thing for q in asked], places=[q.place for q in asked])
    return things.float().tolist(), places.float().tolist()


def read_pictures(folder: Path) -> Iterator[Image]:
    """The PNGs of a folder, by name."""
    from aquatint.data.pictures import open_picture

    return (open_picture(path) for path in sorted(folder.glob("*.png")))
