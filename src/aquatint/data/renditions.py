r"""From a caption as it is written to the few ways in which the model is told it: lines, wildcards and orders are drawn once.

Prompts are encoded before training, so their number must be bounded: every picture gets some renditions, and training draws from
these. What may be written:

- several lines (`images.caption_lines=choose`): each is an alternative;
- `{red|green|}`: one of these, nested at will. Braces without a bar, or without a partner, are text, and so are `\{`, `\|` and `\}`;
- `2.5::` before an alternative, in braces or on a line: how often it comes beside the others, which count 1;
- `a, b ||| c, d ||| e` (`images.caption_shuffle`): only what stands between the first two `|||` changes its order.

The weights and the braces are those of dynamic prompts, lines and `|||` those of kohya's scripts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from random import Random

from aquatint.data.captions import caption_of, mention, tidy
from aquatint.data.settings import Images

Choice = tuple[tuple[float, "Said"], ...]
"""(probability, what is said) of each alternative."""
Said = list["str | Choice"]

DEFAULT_VARIANTS = 8
MOST_TABLED = 4096
"""Of so many combinations each gets its share of a caption's renditions; of more, each rendition is drawn by itself."""
DEEPEST = 30
"""A caption with more braces within braces than this is text."""
WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*::")
MARKS = re.compile(r"\\[{|}]|[{|}]")
COMMA = re.compile(r"(?<!\d),|,(?!\d)")
"""Between tags; not the one in 1,000."""


def renditions(written: str | None, images: Images, *, name: str, trigger: str | None = None, seed: int = 0) -> tuple[str, ...]:
    """What the model may read for one picture, at least one text (empty if nothing says), at most `images.caption_variants`.

    All are equally likely: a text that is to come more often stands there more often. Lines and wildcards come first, then
    `caption_of` with template and trigger for each, then the order; so neither the trigger nor a file name is taken apart.
    A pure function of its arguments. Of n renditions a combination of lines and wildcards of probability p gets n·p, rounded up or
    down at random such that the mean over many pictures is exact; where p >= 1/n it is never missing. Orders are independent draws.
    """
    random = Random(f"renditions/{seed}/{name}")
    tree = _parsed(written, images)
    num = images.caption_variants or (DEFAULT_VARIANTS if images.caption_shuffle or any(isinstance(part, tuple) for part in tree) else 1)
    empty = "" if tree and images.template else None  # a template is filled with nothing; without one the trigger stands alone
    said = [text or empty for text in _drawn(tree, num, random=random)]
    told = [caption_of(text, name=name, trigger=trigger, template=images.template) or "" for text in said]
    ordered = tuple(_ordered(text, images, trigger=trigger, random=random) for text in told)
    return ordered[:1] if len(set(ordered)) == 1 else ordered


def alternatives(text: str, *, most: int) -> list[str] | None:
    """Every text that braces stand for, the last ones changing fastest; None where there are more than `most`."""
    tree = _tree(text)
    return None if _num_combinations(tree) > most else [_tidied(said, tree) for _, said in _combinations(tree)]


def axes(text: str) -> list[list[str]]:
    """What each pair of outermost braces stands for, in order."""
    return [[said for _, said in _combinations([part])] for part in _tree(text) if not isinstance(part, str)]


def _parsed(written: str | None, images: Images) -> Said:
    """A caption as text and choices between alternatives."""
    if images.caption_lines == "join":
        return _tree(" ".join((written or "").split()))
    lines = [_weighed(_tree(line)) for line in tidy(written or "", "choose").splitlines()]
    return [_choice(lines)] if len(lines) > 1 else [part for _, said in lines for part in said]


def _tree(text: str) -> Said:
    """Text and choices; one pass, with the open braces on a stack."""
    stack: list[list[Said]] = [[[]]]  # of each open brace its alternatives so far; the outermost has one
    end = 0
    for mark in MARKS.finditer(text):
        _say(stack[-1][-1], [text[end : mark.start()]])
        end, found = mark.end(), mark[0]
        if found == "{" and len(stack) > DEEPEST:
            return [text]
        if found == "{":
            stack.append([[]])
        elif found == "|" and len(stack) > 1:
            stack[-1].append([])
        elif found == "}" and len(stack) > 1:
            alternatives = stack.pop()
            is_choice = len(alternatives) > 1
            _say(stack[-1][-1], [_choice([_weighed(said) for said in alternatives])] if is_choice else ["{", *alternatives[0], "}"])
        else:
            _say(stack[-1][-1], [found[-1]])
    _say(stack[-1][-1], [text[end:]])
    while len(stack) > 1:  # never closed
        first, *others = stack.pop()
        _say(stack[-1][-1], ["{", *first, *(part for said in others for part in ["|", *said])])
    return stack[0][0]


def _say(said: Said, more: Said) -> None:
    """Append, text to text in one piece."""
    for part in more:
        if isinstance(part, str) and said and isinstance(said[-1], str):
            said[-1] += part
        elif part:
            said.append(part)


def _weighed(said: Said) -> tuple[float, Said]:
    """An alternative without the weight that it begins with; 1 where it has none."""
    found = WEIGHT.match(said[0]) if said and isinstance(said[0], str) else None
    return (float(found[1]), [str(said[0])[found.end() :].lstrip(), *said[1:]]) if found else (1.0, said)


def _choice(alternatives: Sequence[tuple[float, Said]]) -> Choice:
    total = sum(weight for weight, _ in alternatives)
    if not total:  # nothing is to come: as if nothing were said of how often
        return tuple((1 / len(alternatives), said) for _, said in alternatives)
    return tuple((weight / total, said) for weight, said in alternatives if weight)


def _drawn(tree: Said, num: int, *, random: Random) -> list[str]:
    """`num` texts in random order, each of them distributed as the weights say."""
    if _num_combinations(tree) > MOST_TABLED:
        return [_tidied(_one(tree, random), tree) for _ in range(num)]
    table = _combinations(tree)
    ends, start = list(accumulate(probability for probability, _ in table)), random.random()
    places = (bisect_right(ends, (start + index) / num * ends[-1]) for index in range(num))  # systematic sampling
    texts = [_tidied(table[min(place, len(table) - 1)][1], tree) for place in places]
    random.shuffle(texts)
    return texts


def _num_combinations(tree: Said) -> int:
    return prod(sum(_num_combinations(said) for _, said in part) for part in tree if not isinstance(part, str))


def _combinations(tree: Said) -> list[tuple[float, str]]:
    """(probability, text) of all that a caption can say."""
    table = [(1.0, "")]
    for part in tree:
        more = [(1.0, part)] if isinstance(part, str) else [(p * q, text) for p, said in part for q, text in _combinations(said)]
        table = [(p * q, before + after) for p, before in table for q, after in more]
    return table


def _one(tree: Said, random: Random) -> str:
    def chosen(choice: Choice) -> Said:
        return random.choices([said for _, said in choice], [probability for probability, _ in choice])[0]

    return "".join(part if isinstance(part, str) else _one(chosen(part), random) for part in tree)


def _tidied(text: str, tree: Said) -> str:
    """Without the gaps and commas that an empty alternative leaves; a caption without choices stays as it is."""
    if all(isinstance(part, str) for part in tree):
        return text
    text = re.sub(r"\s+(?=,)", "", " ".join(text.split()))
    return re.sub(r",(?: ?,)+", ",", text).strip(", ")


def _ordered(caption: str, images: Images, *, trigger: str | None, random: Random) -> str:
    """What stands between commas in a new order, but for what is kept; the trigger is never cut, whatever is in it."""
    parts = caption.split("|||")
    if not images.caption_shuffle:
        return caption if len(parts) == 1 else ", ".join(tag for part in parts for tag in [part.strip(" ,")] if tag)
    first, middle, *last = [_tags(part, trigger) for part in (parts if len(parts) > 1 else ["", caption])]
    if len(parts) == 1:
        first, middle = middle[: images.caption_keep], middle[images.caption_keep :]
    random.shuffle(middle)
    return ", ".join([*first, *middle, *(tag for tags in last for tag in tags)])


def _tags(text: str, trigger: str | None) -> list[str]:
    """What stands between commas, without those inside of the trigger."""
    whole = [found.span() for found in mention(trigger).finditer(text)] if trigger else []
    cuts = [found.start() for found in COMMA.finditer(text) if not any(start <= found.start() < end for start, end in whole)]
    pieces = [text[start + 1 : end].strip() for start, end in zip([-1, *cuts], [*cuts, len(text)], strict=True)]
    return [piece for piece in pieces if piece]
