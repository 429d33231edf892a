"""Where training pictures come from: each kind of source is one file, and becomes an `Offer`."""

from __future__ import annotations

from pathlib import Path

from aquatint.data.places import Offer
from aquatint.data.settings import Images
from aquatint.data.sources import dataset, folder, mix, shards, table

KINDS = (dataset, mix, table, shards, folder)
"""Each with `claims(source)`, which opens nothing but folders, and `read(source, images)`; the last claims the rest."""


def read(source: str, images: Images) -> Offer:
    """Everything that a source offers, no picture decoded. Raises BadData if that is nothing."""
    kind = next(kind for kind in KINDS if kind.claims(source))
    offer: Offer = kind.read(source, images)
    return offer


def is_bare(source: Path) -> bool:
    """Whether it is a folder with nothing in it, or none yet."""
    is_folder = next(kind for kind in KINDS if kind.claims(str(source))) is folder
    return is_folder and not source.is_file() and not (source.is_dir() and any(source.iterdir()))


def lasting(source: Path) -> Path:
    """The same source by a name that holds from any working directory."""
    return source if str(source).startswith(dataset.HUB) else source.absolute()
