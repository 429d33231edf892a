"""How near pictures are to words and to other pictures, by a CLIP model (Radford et al. 2021)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

AT_ONCE = 256


class ClipScores:
    """A CLIPModel folder (with tokenizer and image processor) that answers with cosine similarities in [-1, 1]."""

    def __init__(self, folder: Path):
        from transformers import CLIPModel, CLIPTokenizer

        self._model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._words: Any = CLIPTokenizer.from_pretrained(folder)
        self._side_px: int = self._model.config.vision_config.image_size
        self._mean, self._std = _normalization(folder)

    def to_texts(self, pictures: Sequence[Image], texts: Sequence[str]) -> list[float]:
        """Each picture's similarity to its own text."""
        return _pairwise(self._pictures(pictures), self._texts(texts))

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
        resized = [np.asarray(p.convert("RGB").resize((self._side_px,) * 2)) for p in pictures]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
        normal = (pixels - self._mean) / self._std
        return normalize(_tensor(self._model.get_image_features(pixel_values=normal)), dim=-1)

    @torch.no_grad()
    def _texts(self, texts: Sequence[str]) -> Tensor:
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._words(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return normalize(_tensor(self._model.get_text_features(**tokens)), dim=-1)


def _pairwise(a: Tensor, b: Tensor) -> list[float]:
    return [float(value) for value in (a * b).sum(1)]


def _normalization(folder: Path) -> tuple[Tensor, Tensor]:
    import json

    settings = json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    return mean, std


def _tensor(features: Any) -> Tensor:
    found: Tensor = features if isinstance(features, Tensor) else features.pooler_output  # the type depends on transformers' version
    return found
