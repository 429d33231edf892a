"""Fine-tune a model on a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aquatint.core.memory import unswept
from aquatint.training.settings import Train

if TYPE_CHECKING:
    from aquatint.training.events import Event


def run(config: Train) -> Iterator[Event]:
    """Checks first, then trains; yields what happens. Raises an `AquatintError` that names every problem at once."""
    from aquatint.training.preflight import check

    checked = check(config)
    with unswept():
        from aquatint.training.session import Session  # brings torch, which takes seconds: a mistake is told before

    yield from Session(config, checked).run()
