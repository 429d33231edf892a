"""Where training pictures come from. Each kind of source is one file with `read(source, images) -> Offer`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from aquatint.data.places import Offer
from aquatint.data.settings import Images


def read(source: str, images: Images) -> Offer:
    """All that the source holds, no picture decoded. Raises BadData for what is no source at all."""
    offer: Offer = import_module(f"{__name__}.{kind_of(source)}").read(source, images)
    return offer


def kind_of(source: str) -> str:
    """Name of the file here that reads it."""
    return "folder"


def lasting(source: Path) -> Path:
    """The same source by a name that holds from any working directory."""
    return source if str(source).startswith("hub:") else source.absolute()
