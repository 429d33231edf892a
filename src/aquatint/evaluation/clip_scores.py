"""How near pictures are to words and to other pictures, by a CLIP model (Radford et al. 2021)."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from aquatint.data.transforms import to_tensor
from aquatint.guidance._clip import ClipEncoder

AT_ONCE = 256


class ClipScores:
    """A CLIPModel folder (with tokenizer and image processor) that answers with cosine similarities in [-1, 1]."""

    def __init__(self, folder: Path):
        self._clip = ClipEncoder(str(folder))

    def to_texts(self, pictures: Sequence[Image], texts: Sequence[str]) -> list[float]:
        """Each picture's similarity to its own text."""
        return [float(value) for value in (self._pictures(pictures) * self._clip.texts(texts)).sum(1)]

    def among_texts(self, pictures: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """(B, T): similarities of all pictures to all texts."""
        return self._pictures(pictures) @ self._clip.texts(texts).T

    def to_pictures(self, pictures: Sequence[Image], references: Sequence[Image]) -> list[float]:
        """Each picture's mean similarity to all references."""
        similarities: Tensor = self._pictures(pictures) @ self._pictures(references).T
        return [float(value) for value in similarities.mean(1)]

    def features(self, pictures: Sequence[Image]) -> Tensor:
        """(B, D), each of length √D: the product of two, divided by D, is their cosine similarity."""
        parts = [self._pictures(pictures[start : start + AT_ONCE]) for start in range(0, len(pictures), AT_ONCE)]
        return torch.cat(parts) * math.sqrt(parts[0].shape[1])

    @torch.no_grad()
    def _pictures(self, pictures: Sequence[Image]) -> Tensor:
        height, width = self._clip.eye.size_px
        resized = [picture.convert("RGB").resize((width, height)) for picture in pictures]  # each may have a size of its own
        return self._clip.pictures(torch.stack([to_tensor(picture) for picture in resized]))
