"""Low-rank adaptation (Hu et al. 2021): W x + (alpha / rank) B A x, of which only A and B are trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from aquatint.errors import BadSetting
from aquatint.methods.base import Method

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FILE = "pytorch_lora_weights.safetensors"


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
        return 1e-3 if self.convolutions else 2e-3

    def attach(self, bundle: Bundle, family: ModelFamily) -> dict[str, nn.Parameter]:
        bundle.freeze()
        targets = list(self.targets or family.lora_targets) + (list(family.convolution_targets) if self.convolutions else [])
        parts = [("denoiser", bundle.denoiser, targets)]
        if self.text_encoder:
            parts += [(f"text_encoder_{i}", m, list(family.text_targets)) for i, m in enumerate(bundle.text_encoders)]
        trained: dict[str, nn.Parameter] = {}
        for name, module, names in parts:
            trained |= {f"{name}.{n}": p for n, p in self._adapt(module, names).items()}
        return trained

    def _adapt(self, module: nn.Module, targets: list[str]) -> dict[str, nn.Parameter]:
        from peft import LoraConfig, inject_adapter_in_model

        missing = [t for t in targets if not any(n == t or n.endswith("." + t) for n, _ in module.named_modules())]
        if self.targets and missing:
            raise BadSetting(f"method.targets: no layer of {type(module).__name__} is named {', '.join(missing)}")
        inject_adapter_in_model(LoraConfig(r=self.rank, lora_alpha=self.alpha or self.rank, target_modules=targets), module)
        module.train()
        return {name: p for name, p in module.named_parameters() if p.requires_grad}

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export.diffusers_lora import write

        scale = (self.alpha or self.rank) / self.rank
        return write(bundle, out_dir / FILE, rank=self.rank, scale=scale, facts={**facts, "ss_network_alpha": str(self.alpha or self.rank)})

    def load(self, bundle: Bundle, saved: Path) -> None:
        bundle.pipeline.load_lora_weights(saved.parent, weight_name=saved.name)

    def loading_lines(self, base: str, saved: str) -> list[str]:
        return [f'pipe = StableDiffusionPipeline.from_pretrained("{base}")', f'pipe.load_lora_weights("{saved}")']
