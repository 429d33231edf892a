"""Prompts as a user writes them: a file with one in each line, and braces that stand for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aquatint.data.captions import decode
from aquatint.data.renditions import alternatives, axes
from aquatint.errors import BadFile, BadSetting

MOST = 10_000
"""Prompts of one call."""


def spelled_out(prompt: str) -> list[str]:
    """All that `a {fox|owl} {on the moon|on a beach}` stands for, the last braces changing fastest. Raises `BadSetting` for too many."""
    found = alternatives(prompt, most=MOST)
    if found is None:
        raise BadSetting(f"prompt={prompt}: this stands for more than {MOST:,} prompts; take fewer alternatives")
    return found


def from_file(path: Path) -> list[str]:
    """A prompt a line, braces spelled out; empty lines and lines that begin with # are none. Raises `BadFile`."""
    try:
        text, problems = decode(path.read_bytes(), path.name)
    except OSError as error:
        raise BadFile(f"prompts={path}: cannot be read ({error.strerror})") from None
    if text is None:
        raise BadFile("\n".join(f"prompts={path}: {problem}" for problem in problems))
    lines = [line.strip() for line in text.splitlines()]
    found = [prompt for line in lines if line and not line.startswith("#") for prompt in spelled_out(line)]
    if not found:
        raise BadFile(f"prompts={path}: there is no prompt in it; write one in each line")
    return found


def grid(prompt: str) -> tuple[Sequence[str], Sequence[str]] | None:
    """Titles of rows and columns of a prompt with two pairs of braces, in the order of `spelled_out`; else None."""
    found = axes(prompt)
    return (found[0], found[1]) if len(found) == 2 else None
