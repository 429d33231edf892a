"""Full fine-tuning: every weight of the denoiser, and of the text encoder on request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from aquatint.methods.base import DENOISER, Method, Shapes, of_kind, pipeline_lines

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FOLDER = "model"
TABLES = ("pos_embed",)
"""Last parts of names that lie in files and are not trained: places as waves."""


class Full(Method, kind="full"):
    """All weights; learns most, needs most memory, and writes a whole model."""

    text_encoder: bool = False
    """Train the text encoder too."""

    prior_weight: ClassVar = 4.0
    width_power: ClassVar = 1.8
    """Between what serves at two widths: 1e-5 at 1280, Stable Diffusion's, and 3e-4 at 192, the embedded model's."""

    @property
    def trains_text_encoder(self) -> bool:
        return self.text_encoder

    @property
    def default_lr(self) -> float:
        return 1e-5

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        weights = of_kind(parts, (*DENOISER, *(family.text_parts if self.text_encoder else ())))
        return _count({name: shape for name, shape in weights.items() if name.rpartition(".")[2] not in TABLES})

    def num_written(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        return sum(map(_count, parts.values()))

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        bundle.freeze()
        parts = [("denoiser", bundle.denoiser)]
        if self.text_encoder:
            parts += [(f"text_encoder_{i}", m) for i, m in enumerate(bundle.adaptable)]
        for _, module in parts:
            module.requires_grad_(True).train()
        return {f"{name}.{n}": p for name, module in parts for n, p in module.named_parameters()}

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export.diffusers_folder import write

        return write(bundle, out_dir / FOLDER, facts=facts)

    def load(self, bundle: Bundle, saved: Path) -> None:
        pipeline = bundle.pipeline
        without = {name: None for name, part in pipeline.components.items() if part is None}
        fresh = type(pipeline).from_pretrained(saved, use_safetensors=True, **without)
        for name, part in pipeline.components.items():
            if any(part is trained for trained in (bundle.denoiser, *bundle.adaptable)):
                part.load_state_dict(getattr(fresh, name).state_dict())

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        return pipeline_lines(pipeline, saved)


def _count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
