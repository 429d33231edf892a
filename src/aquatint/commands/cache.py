"""Encode pictures and captions beforehand, with the settings of `train`: a run with the same ones then begins at once."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from aquatint.core.memory import unswept
from aquatint.training.settings import Train

if TYPE_CHECKING:
    from aquatint.training.prior import Prior


class Cache(Train):
    """The settings of `train`; those that change no picture and no caption change nothing here."""


def run(config: Cache) -> Iterator[str]:
    """Checks as `train` does, and raises what it raises; begins no run. Yields what was prepared, and where it lies."""
    from aquatint.training.preflight import check

    checked = check(config)
    with unswept():
        from aquatint.data.findings import counted
        from aquatint.data.kept import default_root
        from aquatint.training.session import Session

    begun = perf_counter()
    session = Session(checked.config, checked)
    session.prepare()
    views = sum(map(len, session.examples.views))
    told = f", {counted(len(session.examples.conditionings), 'text')}" if session.examples.conditionings else ""
    told += _asked(session.prior)
    yield f"{counted(len(checked.records), 'picture')} in {counted(views, 'view')}{told}: {perf_counter() - begun:.1f} s"
    yield f"kept in {default_root()}"
    session.runtime.close()


def _asked(prior: Prior | None) -> str:
    from aquatint.data.findings import counted

    if prior is None:
        return ""
    outputs, pictures = len(prior.outputs), len(prior.latents)
    return f", {counted(outputs, 'answer')} of the base" if outputs else f", {counted(pictures, 'picture')} to keep"
