"""A prompt that is longer than a text encoder's window, in pieces that fit; no model is needed here."""

import re
from collections.abc import Callable, Sequence
from math import ceil

WIDE_ENDS = "，。；：！？、"
"""Of scripts that put no space after them."""
ENDS = f",.;:!?{WIDE_ENDS}"
"""After these a prompt is cut rather than between two words."""
LEAST_FILLED = 0.5
"""Share of the words that would fit, which must stand before such an end: a comma near the beginning would waste the window."""


def pieces(prompt: str, *, fits: Callable[[str], bool], whole: Sequence[str] = ()) -> list[str]:
    """The prompt in order: as much as fits in each piece, but for what follows its last comma or sentence's end.

    A word that is too long by itself is cut anywhere, and never one of `whole`, which may hold spaces. One piece, as it stands,
    if it fits.
    """
    if fits(prompt):
        return [prompt]
    kept = "".join(f"{re.escape(word)}|" for word in sorted(whole, key=len, reverse=True))
    words: list[str] = re.findall(rf"(?:{kept}\S)+?(?:\s+|$|(?<=[{WIDE_ENDS}])|(?<=,)(?!\d))", prompt)  # 1,000 is one word
    found = []
    while words:
        num = _most(words, fits)
        if num == 0:
            letters = list(words[0])
            cut = max(1, _most(letters, fits))  # a letter that does not fit is the encoder's to cut
            words[:1] = ["".join(letters[:cut]), *(["".join(letters[cut:])] if cut < len(letters) else [])]
            num = 1
        elif num < len(words):
            num = next((i for i in range(num, ceil(num * LEAST_FILLED) - 1, -1) if words[i - 1].rstrip()[-1] in ENDS), num)
        found.append("".join(words[:num]).strip())
        words = words[num:]
    return found


def _most(parts: Sequence[str], fits: Callable[[str], bool]) -> int:
    """How many of them fit, from the first on."""
    low, high = 0, len(parts)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits("".join(parts[:middle])) else (low, middle - 1)
    return low
