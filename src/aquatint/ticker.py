"""A line that tells how far long preparations are."""

from __future__ import annotations

import sys
import time

PATIENCE_SECONDS = 3.0
"""Nothing is said of what is done sooner."""
SECONDS_APART, SECONDS_APART_IN_LOGS = 0.5, 30.0


class Ticker:
    """Called with (done, of how many) as often as one likes, it writes now and then to standard error."""

    def __init__(self, what: str):
        """`what` was done to them: `looked at`."""
        self._what = what
        self._begun = self._said = time.monotonic()
        self._has_said = False

    def __call__(self, done: int, total: int) -> None:
        now, is_live = time.monotonic(), sys.stderr.isatty()
        is_due = now - self._said >= (SECONDS_APART if is_live else SECONDS_APART_IN_LOGS) and now - self._begun >= PATIENCE_SECONDS
        if not is_due and not (self._has_said and done == total):
            return
        self._said, self._has_said = now, True
        text = f"{self._what} {done:,} of {total:,}"
        print(f"\r{text}\x1b[K" if is_live else text, end="\n" if done == total or not is_live else "", file=sys.stderr, flush=True)
