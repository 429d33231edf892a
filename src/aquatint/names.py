"""Answering a name nobody knows with the nearest one that somebody does."""

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like this one, or None."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: `; did you mean 'lora'?`, or the list of known names."""
    names = sorted(known)
    if match := near(name, names):
        return f"; did you mean {match!r}?"
    return f"; known: {', '.join(names)}" if names else ""
