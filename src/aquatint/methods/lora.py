"""Low-rank adaptation (Hu et al. 2021): W x + (alpha / rank) B A x, of which only A and B are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from aquatint.errors import BadSetting
from aquatint.methods.base import DENOISER, Method, Shapes, of_kind, pipeline_lines

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FILE, FOLDER = "pytorch_lora_weights.safetensors", "adapter"


class LoRA(Method, kind="lora"):
    """Small matrices beside the frozen weights; a file of a few megabytes."""

    rank: int = Field(16, ge=1, le=1024)
    """Rank of the update; the file grows linearly with it."""
    alpha: PositiveFloat | None = None
    """The update is scaled by alpha / rank. Not given: alpha = rank."""
    targets: tuple[str, ...] = ()
    """Last parts of the names of the layers to adapt. Not given: the attention layers of the family."""
    convolutions: bool = False
    """Adapt the convolutions too (LoCon): learns shapes and textures better, for a larger file."""
    text_encoder: bool = False
    """Adapt the text encoder's attention too."""

    @property
    def trains_text_encoder(self) -> bool:
        return self.text_encoder

    @property
    def default_lr(self) -> float:
        return 1e-4

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        text_targets = family.text_targets if self.text_encoder else ()
        sides = _sides(of_kind(parts, DENOISER), self._targets(family)) + _sides(of_kind(parts, family.text_parts), text_targets)
        return self.rank * sides

    def _targets(self, family: ModelFamily) -> list[str]:
        return [*(self.targets or family.lora_targets), *(family.convolution_targets if self.convolutions else ())]

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        self.check(bundle, family, trigger=trigger)
        bundle.freeze()
        trained: dict[str, nn.Parameter] = {}
        for name, module, names in self._parts(bundle, family):
            trained |= {f"{name}.{n}": p for n, p in self._adapt(module, names).items()}
        return trained

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        problems = [problem for _, module, names in self._parts(bundle, family) for problem in self._problems(module, names)]
        if problems:
            raise BadSetting("\n".join(problems))

    def _parts(self, bundle: Bundle, family: ModelFamily) -> list[tuple[str, nn.Module, list[str]]]:
        """Name, module and targets of what is adapted."""
        parts = [("denoiser", bundle.denoiser, self._targets(family))]
        if self.text_encoder:
            parts += [(f"text_encoder_{i}", m, list(family.text_targets)) for i, m in enumerate(bundle.adaptable)]
        return parts

    def _problems(self, module: nn.Module, targets: list[str]) -> list[str]:
        """Targets that are no layers, layers that no adapter fits, and layers too small for the rank."""
        from torch import nn

        problems: list[str] = []
        sizes: dict[str, int] = {}
        for target in targets:
            layers = {n: m for n, m in module.named_modules() if n == target or n.endswith("." + target)}
            sizes |= {n: _full_rank(m) for n, m in layers.items() if isinstance(m, nn.Linear | nn.Conv2d)}
            wrong = next((f"{n} is a {type(m).__name__}" for n, m in layers.items() if n not in sizes), "")
            if wrong:
                problems.append(f"method.targets: only linear layers and convolutions can be adapted, and {wrong}")
            if target in self.targets and not layers:
                problems.append(f"method.targets: no layer of {type(module).__name__} is named {target}")
        if not sizes and not problems:
            what = f"{type(module).__name__} has no layer named {' or '.join(targets)}"
            problems.append(f"method.targets: {what}; method.convolutions=true adapts its convolutions, method=full trains all of it")
        smallest = min(sizes, key=lambda name: sizes[name], default=None)
        if smallest and self.rank > sizes[smallest]:
            large = sum(size < self.rank for size in sizes.values())
            problems.append(f"method.rank={self.rank}: {large} layers of {type(module).__name__} are smaller, first {smallest}; "
                            f"choose at most {sizes[smallest]}, at which its update is complete")  # fmt: skip
        return problems

    def _adapt(self, module: nn.Module, targets: list[str]) -> dict[str, nn.Parameter]:
        from peft import LoraConfig, inject_adapter_in_model

        from aquatint.methods._layers import lean

        config = LoraConfig(r=self.rank, lora_alpha=self.alpha or self.rank, target_modules=targets)
        inject_adapter_in_model(lean(config), module)
        module.train()
        return {name: p for name, p in module.named_parameters() if p.requires_grad}

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export import diffusers_lora, peft_folder

        if not hasattr(bundle.pipeline, "load_lora_weights"):
            return peft_folder.write(bundle, out_dir / FOLDER, facts=facts)
        scale, facts = (self.alpha or self.rank) / self.rank, {**facts, "aquatint.alpha": str(self.alpha or self.rank)}
        return diffusers_lora.write(bundle, out_dir / FILE, rank=self.rank, scale=scale, facts=facts)

    def load(self, bundle: Bundle, saved: Path) -> None:
        from aquatint.export import peft_folder

        if saved.is_dir():
            peft_folder.load(bundle, saved)
        else:
            bundle.pipeline.load_lora_weights(saved.parent, weight_name=saved.name)

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        from aquatint.export import peft_folder

        lines = pipeline_lines(pipeline, base)
        return [*lines, *peft_folder.loading_lines(saved)] if Path(saved).is_dir() else [*lines, f"pipe.load_lora_weights({saved!r})"]


def _full_rank(layer: nn.Linear | nn.Conv2d) -> int:
    """The largest rank that an update of the layer can have."""
    return min(layer.weight.shape[0], layer.weight[0].numel())


def _sides(shapes: Shapes, targets: Sequence[str]) -> int:
    """Lengths of the two sides of the adapted layers, summed."""
    ends = tuple(f".{target}.weight" for target in targets)
    return sum(shape[0] + math.prod(shape[1:]) for name, shape in shapes.items() if name.endswith(ends))
