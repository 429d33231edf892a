"""A finished (or stopped) run explains itself: one HTML page that loads nothing and runs no script."""

from __future__ import annotations

from pathlib import Path

from aquatint.evaluation import sections
from aquatint.evaluation.readme import write_readme
from aquatint.evaluation.record import RunRecord, write_whole
from aquatint.markup import Markup, document, element

__all__ = ["write_readme", "write_report"]

PARTS = (
    sections.header,
    sections.before_after,
    sections.measures,
    sections.loss,
    sections.samples,
    sections.numbers,
    sections.notes,
    sections.proof,
    sections.use,
    sections.settings,
)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run folder and return its path. Tells what the folder holds; nothing in it is required but the folder."""
    record = RunRecord.read(run_dir)
    return write_whole(run_dir / "report.html", _page(record))


def _page(record: RunRecord) -> str:
    return document(f"{record.run_dir.resolve().name} – aquatint", *(part(record) for part in PARTS), _footer(record))


def _footer(record: RunRecord) -> Markup:
    versions = record.fact("versions")
    made = [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    return element("footer", "Written by aquatint. ", ", ".join(made))
