"""What the pictures come from: each kind of source becomes an `Offer`."""

from __future__ import annotations

from aquatint.data.places import Offer
from aquatint.data.settings import Images
from aquatint.data.sources import dataset, mix, shards, table
from aquatint.data.sources.refusals import absent

KINDS = (dataset, mix, table, shards)
"""Each with `claims(source)`, which opens nothing but folders, and `read(source, images)`."""


def read(source: str, images: Images) -> Offer:
    """Everything that a source offers. Raises BadData if that is nothing."""
    for kind in KINDS:
        if kind.claims(source):
            offer: Offer = kind.read(source, images)
            return offer
    raise absent(source)
