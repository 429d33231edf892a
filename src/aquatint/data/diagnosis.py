"""What is wrong with a set as a whole, and with single pictures, told from measures alone: no file is opened here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from aquatint.data.captions import mention
from aquatint.data.findings import Finding, counted, listed
from aquatint.data.likeness import groups_of, joined_up, marks, num_bits_apart
from aquatint.data.measures import Measures

BLURRED_PX = 1.4
"""Edges wider than this in a picture 512 pixels long. Sharp photographs, scans and drawings have 0.4 to 0.8, a wheel of soft colours
1.26; blurred by 4 pixels of 512 they have 1.5 to 2.8 (a black silhouette 1.1), by 10 pixels 2 to 6."""
UNIFORM_SPREAD = 2.0
"""Of 255 levels. The least of real pictures is 10 (a retina's vessels), a noisy frame of one colour at most 1."""
LONG_WORDS = 60
"""Words that about fill the 75 tokens of CLIP's text encoder; what comes later is not read by models that have no other."""
FEWEST_REPEATS = 3
"""Pictures with one caption. Two are a coincidence."""
CORNERS = ("top left", "top right", "bottom left", "bottom right")
MAX_ROWS = 20
STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "has", "have", "her", "his", "in", "into", "is", "it", "its", "near", "of",
    "on", "or", "over", "that", "the", "their", "this", "to", "with",
))  # fmt: skip


OF_A_SCAN = re.compile(r"#\d+$")
"""Ends the names of the pictures in one file."""


class Looked(Protocol):
    """What must be known of a picture; `ImageRecord` is one."""

    @property
    def name(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def measures(self) -> Measures | None:
        """None for what was not measured: it is compared by its content alone."""


@dataclass(frozen=True)
class CaptionTable:
    """What the captions of a set are like, in counts."""

    num_pictures: int
    num_empty: int
    num_different: int
    """Of those that are not empty."""
    num_words: tuple[int, int, int]
    """Fewest, median, most in a caption that is not empty."""
    captions: tuple[tuple[str, int], ...]
    """Those of several pictures, with how many; at most 20, most frequent first. As `phrases`."""
    phrases: tuple[tuple[str, int], ...]
    """One to three words in a row, with the number of captions that hold them."""


def diagnose(
    pictures: Sequence[Looked], *, trigger: str | None = None, written: Mapping[str, str | None] | None = None, source: str = "."
) -> list[Finding]:
    """Copies, pictures alike, marks in corners, blur, one colour, and what is odd about the captions.

    `written` holds captions by name as they stand in files, for records whose caption was completed by trigger or template. `source` is
    what findings about the whole set are said of. Size and shape are not judged here: what they cost depends on the resolution, and
    `inspect` tells how much is enlarged or cropped. Nothing is an error: all of it can be trained on.
    """
    distinct, copies = _copies(pictures)
    alike, twins = _twins(distinct)
    return [*copies, *alike, *_marks(twins), *_dull(pictures), *_wording(pictures, trigger=trigger, written=written or {}, source=source)]


def leakage(training: Sequence[Looked], held_out: Sequence[Looked]) -> list[Finding]:
    """Held-out pictures that are copies of training pictures or look like them: the loss on them tells nothing of new pictures."""
    every = [*training, *held_out]
    by_content: dict[str, list[int]] = {}
    for place, picture in enumerate(every):
        by_content.setdefault(_content(picture), []).append(place)
    copies = [pair for places in by_content.values() for pair in pairwise(places)]
    alike = [pair for group in _alike(every) for pair in pairwise(group)]
    findings, advice = [], "remove one side, or its loss only tells what was learned by heart"
    for group in joined_up([*copies, *alike], num=len(every)):
        seen = [every[place].name for place in group if place < len(training)]
        for place in group if seen else ():
            if place >= len(training):
                what = f"is held out, and trained on is the same or nearly: {listed(seen)}"
                findings.append(Finding("warning", every[place].name, what, advice, tuple(seen)))
    return findings


def caption_table(captions: Sequence[str]) -> CaptionTable:
    """Counts over the captions of a set, empty ones among them."""
    given = [caption for caption in captions if caption.strip()]
    lengths = sorted(len(caption.split()) for caption in given) or [0]
    repeated = [(caption, count) for caption, count in Counter(given).most_common(MAX_ROWS) if count > 1]
    return CaptionTable(
        num_pictures=len(captions),
        num_empty=len(captions) - len(given),
        num_different=len(set(given)),
        num_words=(lengths[0], lengths[len(lengths) // 2], lengths[-1]),
        captions=tuple(repeated),
        phrases=tuple(_phrases(given)),
    )


def _copies(pictures: Sequence[Looked]) -> tuple[list[Looked], list[Finding]]:
    """The first of each content, and what is to be said of the others."""
    groups: dict[str, list[Looked]] = {}
    for picture in pictures:
        groups.setdefault(_content(picture), []).append(picture)
    findings = []
    for first, *others in (group for group in groups.values() if len(group) > 1):
        names = [other.name for other in others]
        captions = {picture.caption for picture in (first, *others)}
        what = f"is the same file as {listed(names)}" + (f", with {len(captions)} different captions" if len(captions) > 1 else "")
        findings.append(Finding("warning", first.name, what, f"keep one: it counts {len(names) + 1} times", tuple(names)))
    return [group[0] for group in groups.values()], findings


def _twins(pictures: Sequence[Looked]) -> tuple[list[Finding], list[Looked]]:
    """What is to be said of pictures that look alike, and one picture of each such group, with all that are like no other."""
    findings, later = [], set()
    for first, *others in _alike(pictures):
        later |= set(others)
        names = [pictures[place].name for place in others]
        if len({OF_A_SCAN.sub("", name) for name in (pictures[first].name, *names)}) == 1:
            continue  # neighbours in one scan are alike by nature
        bits = [num_bits_apart(_print(pictures[first]), _print(pictures[place])) for place in others]
        what = f"looks like {listed(names)} ({max(bits)} of 64 bits differ)"
        findings.append(Finding("warning", pictures[first].name, what, "keep the best, or it counts as often as it is there", tuple(names)))
    return findings, [picture for place, picture in enumerate(pictures) if place not in later]


def _marks(pictures: Sequence[Looked]) -> Iterator[Finding]:
    """Of different pictures."""
    measured = [(picture, picture.measures) for picture in pictures if picture.measures]
    for place, corner in enumerate(CORNERS):
        for group in marks([measures.corners[place] for _, measures in measured]):
            first, *others = (measured[member][0].name for member in group)
            what = f"shows the same in its {corner} corner as {counted(len(others), 'other')}: {listed(others)}"
            yield Finding("warning", first, what, "if it is a watermark or a date, crop it off: the model learns to draw it", tuple(others))


def _dull(pictures: Iterable[Looked]) -> Iterator[Finding]:
    for name, measures in ((picture.name, picture.measures) for picture in pictures):
        if measures is None:
            continue
        if measures.spread < UNIFORM_SPREAD:
            yield Finding("warning", name, f"is of one colour (its levels spread by {measures.spread:.1f} of 255)", "remove it")
        elif measures.edge_px > BLURRED_PX:
            what = f"is blurred: its edges are {measures.edge_px:.1f} pixels wide where it is 512 long (sharp: 0.4 to 0.8)"
            yield Finding("warning", name, what, "find a sharper one, unless softness is to be learned")


def _wording(
    pictures: Sequence[Looked], *, trigger: str | None, written: Mapping[str, str | None], source: str
) -> Iterator[Finding]:
    given = {picture.name: written.get(picture.name, picture.caption) or "" for picture in pictures}
    captions = {name: caption for name, caption in given.items() if caption.strip()}
    yield from _repeated(captions, source=source)
    if trigger:
        without = [name for name, caption in captions.items() if not mention(trigger).search(caption)]
        if without and len(without) < len(captions):
            what = f"{counted(len(without), 'caption')} of {len(captions):,} without {trigger!r}: {listed(without)}"
            yield Finding("note", source, what, "it is put in front of them; write it where it belongs in the sentence", tuple(without))
    for name, caption in captions.items():
        if (num_words := len(caption.split())) > LONG_WORDS:
            what = f"has a caption of {num_words} words; text encoders with 77 tokens do not read its end"
            yield Finding("note", name, what, f"put what matters into the first {LONG_WORDS}")


def _repeated(captions: Mapping[str, str], *, source: str) -> Iterator[Finding]:
    """One caption for all is a way to train, and the trigger alone; one for several among others is an oversight more often."""
    by_caption: dict[str, list[str]] = {}
    for name, caption in captions.items():
        by_caption.setdefault(caption, []).append(name)
    if len(by_caption) < 2:
        return
    for caption, names in by_caption.items():
        if len(names) >= FEWEST_REPEATS:
            short = caption if len(caption) <= 60 else caption[:59] + "…"
            what = f"{counted(len(names), 'picture')} of {len(captions):,} have the caption {short!r}: {listed(names)}"
            yield Finding("note", source, what, "say what tells them apart: what is not said is learned as part of the rest", tuple(names))


def _phrases(captions: Sequence[str]) -> list[tuple[str, int]]:
    """The most frequent, without those that say nothing and those that only occur inside a longer one."""
    counts: Counter[tuple[str, ...]] = Counter()
    for caption in captions:
        words = re.findall(r"\w[\w'’-]*", caption.lower())
        runs = {tuple(words[start : start + length]) for length in (1, 2, 3) for start in range(len(words) - length + 1)}
        counts.update(run for run in runs if not STOP_WORDS & {run[0], run[-1]})
    inside = {part: count for run, count in counts.items() if len(run) > 1 for part in _parts(run) if counts[part] == count}
    frequent = sorted(((run, count) for run, count in counts.items() if count > 1 and run not in inside), key=lambda row: (-row[1], row[0]))
    return [(" ".join(run), count) for run, count in frequent[:MAX_ROWS]]


def _parts(run: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for length in range(1, len(run)):
        yield from (run[start : start + length] for start in range(len(run) - length + 1))


def _alike(pictures: Sequence[Looked]) -> list[list[int]]:
    """Places of pictures that look alike; those of one colour all do, and are told of for that."""
    known = [(place, one.measures) for place, one in enumerate(pictures) if one.measures and one.measures.spread >= UNIFORM_SPREAD]
    return [[known[member][0] for member in group] for group in groups_of([measures for _, measures in known])]


def _content(picture: Looked) -> str:
    """The same for the same pixels; one file may hold several pictures."""
    return f"{picture.content_hash}:{_print(picture)}"


def _print(picture: Looked) -> int:
    return picture.measures.fingerprint if picture.measures else 0
