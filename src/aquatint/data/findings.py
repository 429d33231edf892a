"""What a look at a folder brings to light, and the one error that holds all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from aquatint.errors import AquatintError

Level = Literal["error", "warning", "note"]
SHOWN = 100
"""Findings spelled out in an error's text; the error itself holds all."""
SHOWN_NAMES = 20
MOST_SAID_APART = 3
UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What would steer a terminal or turn the direction of a line in place of being seen, and halves of characters."""


@dataclass(frozen=True)
class Finding:
    level: Level
    file: str
    """Name relative to the folder, or the folder itself."""
    what: str
    advice: str = ""
    others: tuple[str, ...] = ()
    """Further pictures that it is about, by name."""

    def __str__(self) -> str:
        """One line, whatever is in the names and captions that it is about."""
        return legible(f"{self.file}: {self.what}" + (f" -> {self.advice}" if self.advice else ""))


def folded(findings: Iterable[Finding]) -> list[Finding]:
    """Warnings and notes that say the same of more than three files as one, where the first of them was; every error by itself."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        mine = (finding.file,) if finding.level == "error" else ()
        groups.setdefault((finding.level, finding.what, finding.advice, *mine), []).append(finding)
    return [one for same in groups.values() for one in ([_together(same)] if len(same) > MOST_SAID_APART else same)]


def _together(same: Sequence[Finding]) -> Finding:
    files = f"{', '.join(one.file for one in same[:MOST_SAID_APART])} and {len(same) - MOST_SAID_APART:,} more"
    return replace(same[0], file=files)


class BadData(AquatintError):
    """Every problem with a picture folder at once; `findings` holds them."""

    def __init__(self, source: Path | str, findings: Iterable[Finding]):
        self.findings = tuple(findings)
        errors = [finding for finding in self.findings if finding.level == "error"]
        lines = [str(finding) for finding in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"… and {len(errors) - SHOWN} more")
        super().__init__("\n  ".join([f"{counted(len(errors), 'problem')} in {legible(str(source))}:", *lines]))


def legible(text: str) -> str:
    """The text with what cannot be seen as Python writes it: `\\x1b`, `\\n`, `\\u202e`."""
    return UNSHOWN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more:,} more" if more > 0 else "")
