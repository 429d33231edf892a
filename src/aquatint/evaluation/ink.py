"""Whether a picture is printed in one ink: how far its colours lie from the line between ink and paper."""

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

INK, PAPER = np.array((38.0, 30.0, 78.0)), np.array((246.0, 235.0, 208.0))
LARGEST_MEAN_DISTANCE = 16.0
"""Of 441; a coloured picture of the embedded world lies above 30, a print below 1, or 15 when it has been through the autoencoder."""


def distance_from_ink(picture: Image) -> float:
    """Mean distance in RGB (0 to 441) of the pixels from the segment between ink and paper."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64).reshape(-1, 3)
    along = PAPER - INK
    share = np.clip((pixels - INK) @ along / (along @ along), 0, 1)
    return float(np.linalg.norm(pixels - (INK + share[:, None] * along), axis=1).mean())


def printed(pictures: Sequence[Image]) -> list[float]:
    """1 for each picture in one ink, else 0."""
    return [float(distance_from_ink(picture) <= LARGEST_MEAN_DISTANCE) for picture in pictures]
