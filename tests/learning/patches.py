"""Square pieces of the photographs that come inside scikit-image, for models that learn one kind of picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
FILES = {
    "brick": "brick.png", "grass": "grass.png", "gravel": "gravel.png", "tissue": "ihc.png", "cat": "chelsea.png", "coffee": "coffee.png",
    "astronaut": "astronaut.png", "retina": "retina.jpg", "moon": "moon.png", "coins": "coins.png", "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg", "stars": "hubble_deep_field.jpg", "camera": "camera.png",
}  # fmt: skip
"""Kind of picture -> a file that needs no download."""


def patches(
    kind: str, num: int, *, side_px: int, part: Sequence[float] = (0.0, 1.0), scale: float = 1.0, seed: int = 0
) -> list[Image.Image]:
    """`num` squares of `side_px` from random places, mirrored or not, between the shares `part` of the photograph's width.

    Of parts that do not overlap no pixel is shared. `scale` shrinks the photograph before it is cut. Equal arguments give equal pieces.
    """
    photograph = Image.open(PHOTOGRAPHS / FILES[kind]).convert("RGB")
    whole = photograph.resize([round(side * scale) for side in photograph.size], Image.Resampling.BOX) if scale != 1 else photograph
    random = np.random.default_rng([seed, *kind.encode()])
    first, last = int(np.ceil(part[0] * whole.width)), int(part[1] * whole.width) - side_px
    if first > last:
        raise ValueError(f"{kind}: between {part[0]:.0%} and {part[1]:.0%} of {whole.width} pixels there is no room for {side_px}")
    most = (last + 1, whole.height - side_px + 1, 2)
    places = zip(*(random.integers(least, end, num).tolist() for least, end in zip((first, 0, 0), most, strict=True)), strict=True)
    return [_turned(whole.crop((x, y, x + side_px, y + side_px)), turn) for x, y, turn in places]


def _turned(piece: Image.Image, turn: int) -> Image.Image:
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turn else piece
