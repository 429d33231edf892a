"""Encode pictures and captions beforehand, with the settings of `train`: a run with the same ones then begins at once."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from aquatint.core.memory import unswept
from aquatint.training.settings import Train


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
    asked = f", {counted(len(session.prior.outputs), 'answer')} of the base" if session.prior else ""
    yield f"{counted(len(checked.records), 'picture')} in {counted(views, 'view')}{told}{asked}: {perf_counter() - begun:.1f} s"
    yield f"kept in {default_root()}"
    session.runtime.close()
