"""CLIP models (Radford et al. 2021): pictures and texts as vectors of length 1, differentiable in the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aquatint.guidance import _models

if TYPE_CHECKING:
    from torch import Tensor


class ClipEncoder:
    """A CLIPModel folder or Hub id, with tokenizer and preprocessor config; `pocket` is the one that ships. Raises `BadSetting`."""

    def __init__(self, name: str):
        self._model = _models.load("CLIPModel", name)
        self._words, self.eye = _models.tokenizer(name), _models.eye(name)

    def pictures(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W), about in [-1, 1] -> (B, D)."""
        model = self._model.to(pixels_BCHW.device)
        return _unit(model.get_image_features(pixel_values=self.eye(pixels_BCHW)))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(B, D); what is too long is cut."""
        import torch

        length = self._model.config.text_config.max_position_embeddings
        tokens = self._words(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        with torch.no_grad():
            return _unit(self._model.get_text_features(**tokens.to(self._model.device)))


def _unit(features: Any) -> Tensor:
    from torch import Tensor
    from torch.nn.functional import normalize

    found = features if isinstance(features, Tensor) else features.pooler_output  # the type depends on transformers' version
    return normalize(found.float(), dim=-1)
