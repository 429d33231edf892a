"""An adapter in one plain form, whatever its file calls things: layer -> two factors and a scale.

Layers are named as diffusers names them, the pipeline's part in front: `unet.mid_block.attentions.0.proj_in`. Shapes:
O, I outputs and inputs of a layer, R rank, K x K the kernel of a convolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """The update of one layer: scale · up @ down (Hu et al. 2021), where scale = alpha / rank."""

    down: Tensor
    """(R, I), or (R, I, K, K) for a convolution."""
    up: Tensor
    """(O, R), or (O, R, 1, 1)."""
    alpha: float | None = None
    """None where the file names none: then the scale is 1."""
    magnitude: Tensor | None = None
    """(O,), of DoRA (Liu et al. 2024): the updated weight's rows are given these lengths."""

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that is updated."""
        return (self.up.shape[0], *self.down.shape[1:])

    def matrices(self) -> tuple[Tensor, Tensor]:
        """(O, R) with the scale in it, and (R, I·K·K); both float64."""
        return self.up.flatten(1).double() * self.scale, self.down.flatten(1).double()

    def delta(self) -> Tensor:
        """The update, in the weight's shape; float32."""
        up, down = (side.float() for side in self.matrices())
        return (up @ down).view(self.shape)

    def with_alpha(self, alpha: float) -> "Factors":
        """The same update by another alpha: `up` changes. Its dtype stays where nothing is lost by it, and is float32 elsewhere."""
        if self.alpha == alpha or (self.alpha is None and alpha == self.rank):
            return replace(self, alpha=alpha)
        scaled = self.up.double() * (self.scale * self.rank / alpha)
        kept = scaled.to(self.up.dtype)
        return replace(self, up=kept if torch.equal(kept.double(), scaled) else scaled.float(), alpha=alpha)

    def folded(self) -> "Factors":
        """With scale 1 and alpha = rank, so that a program which ignores alpha is right too."""
        return self.with_alpha(float(self.rank))


@dataclass(frozen=True)
class Adapter:
    layers: Mapping[str, Factors]
    architecture: str | None = None
    """A name of `architectures.ARCHITECTURES`; None when it is none of them."""
    spelling: str = "diffusers"
    """Whose names the file had: diffusers, kohya, comfyui or peft."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    """Layer -> kind of adapter that is known by name alone, such as LoHa."""
    unknown: tuple[str, ...] = ()
    """Keys that no rule knows."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """All there are, ascending."""
        return tuple(sorted({factors.rank for factors in self.layers.values()}))

    @property
    def is_dora(self) -> bool:
        return any(factors.magnitude is not None for factors in self.layers.values())

    @property
    def kinds(self) -> tuple[str, ...]:
        plain = [("DoRA" if self.is_dora else "LoRA")] if self.layers else []
        return (*plain, *sorted(set(self.others.values())))
