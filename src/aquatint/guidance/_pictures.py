"""Pictures that wishes are told by, and pieces of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.errors import AquatintError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_PIECE = 0.5
"""Of the picture's sides."""


def check_picture(path: Path) -> Path:
    """The path, if there is a picture. Raises ValueError with what is wrong."""
    from aquatint.data.pictures import open_picture

    path = path.expanduser()
    if not path.is_file():
        raise ValueError(f"there is no picture {path}")
    try:
        open_picture(path)
    except (AquatintError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from None
    return path


def pixels_of(path: Path, size_px: tuple[int, int] | None = None) -> Tensor:
    """(1, 3, H, W) in [-1, 1]; with a size the middle of the picture, as much of it as has that shape."""
    from PIL.ImageOps import fit

    from aquatint.data.pictures import open_picture
    from aquatint.data.transforms import to_tensor

    picture = open_picture(path).convert("RGB")
    return to_tensor(fit(picture, size_px) if size_px else picture)[None]


class Cutouts:
    """The whole picture and `num` pieces of it, squares of half its sides and more; at every call others.

    They are the same for all pictures of a batch, so that a picture does not depend on what it is drawn together with.
    """

    def __init__(self, num: int, size_px: tuple[int, int]):
        import torch

        self.num, self.size_px, self.random = num, size_px, torch.Generator().manual_seed(0)

    def __call__(self, pixels_BCHW: Tensor) -> Tensor:
        """((1 + num) B, 3, H, W) of `size_px`, piece after piece; the pictures as they are where there are no pieces."""
        import torch
        from torch.nn.functional import interpolate

        if not self.num:
            return pixels_BCHW
        height, width = pixels_BCHW.shape[2:]
        pieces = [pixels_BCHW]
        for size, x, y in torch.rand(self.num, 3, generator=self.random).tolist():
            side = round(min(height, width) * (LEAST_PIECE + (1 - LEAST_PIECE) * size))
            left, top = round(x * (width - side)), round(y * (height - side))
            pieces.append(pixels_BCHW[:, :, top : top + side, left : left + side])
        return torch.cat([interpolate(piece, self.size_px, mode="bicubic", antialias=True, align_corners=False) for piece in pieces])
