"""Classifier guidance (Dhariwal & Nichol 2021) by any image classifier, asked about the finished picture instead of the noisy one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator
from typing_extensions import Self

from aquatint.errors import BadSetting
from aquatint.guidance import _models
from aquatint.guidance.base import Wish
from aquatint.names import nearest

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene
    from aquatint.core.steering import Loss


class Classifier(Wish, kind="classifier"):
    """Moves the picture to where a classifier is sure of `label`; with `units=likelihood scale=1` by the rule of Bayes."""

    label: str
    """What the classifier shall see: the name of one of its classes, or its number."""
    model: str
    """A folder or Hub id of a transformers model for image classification; its preprocessor config says how pictures are shown to it."""

    by: ClassVar = "label"

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        """What lies on this machine is looked into at once."""
        config = Path(_models.place(self.model)) / "config.json"
        if config.is_file():
            self._number(json.loads(config.read_text(encoding="utf-8")).get("id2label") or {})
        return self

    def losses(self, scene: Scene) -> Loss:
        """-log p(label | picture)."""
        model, eye = _models.load("AutoModelForImageClassification", self.model), _models.eye(self.model)
        try:
            number = self._number(model.config.id2label)
        except ValueError as error:
            raise BadSetting(f"classifier: {error}") from None

        def losses(pixels: Tensor) -> Tensor:
            logits = model.to(pixels.device)(pixel_values=eye(pixels)).logits.float()
            found: Tensor = -logits.log_softmax(1)[:, number]
            return found

        return losses

    def _number(self, names: Mapping[int, str] | Mapping[str, str]) -> int:
        """Raises ValueError where there is no such class."""
        numbers = {name.casefold(): int(number) for number, name in names.items()}
        if self.label.casefold() in numbers:
            return numbers[self.label.casefold()]
        if self.label.isdecimal() and int(self.label) < len(names):
            return int(self.label)
        raise ValueError(f"label={self.label}: {self.model} has no such class{nearest(self.label, names.values())}")
