"""What a method decides: which tensors are trained, how they are attached, and how they are saved on their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.config import Choice
from aquatint.registry import methods

if TYPE_CHECKING:  # settings load in milliseconds; torch is imported by the code that computes
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily


DENOISER, TEXT_ENCODERS = ("unet", "transformer"), ("text_encoder",)
"""How the names of a pipeline's parts begin."""
Shapes = Mapping[str, Sequence[int]]
"""Name of a weight -> its shape."""


class Method(Choice, default_kind="lora", discover=lambda: [methods[name] for name in methods.names()]):
    """Frozen settings that act on a bundle. Subclass with `kind=` in a file of its own."""

    @property
    def trains_text_encoder(self) -> bool:
        """Then prompts are encoded at every step instead of once."""
        return False

    @property
    @abstractmethod
    def default_lr(self) -> float:
        """Peak learning rate when the user names none."""

    @abstractmethod
    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        """How many numbers will be trained, by the shapes of a pipeline's parts alone."""

    def num_written(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        """How many numbers the written file will hold."""
        return self.num_trained(parts, family)

    @abstractmethod
    def attach(self, bundle: Bundle, family: ModelFamily) -> dict[str, nn.Parameter]:
        """Freeze everything, add what is new, and return the trained parameters (float32) by name."""

    @abstractmethod
    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        """Write what was trained, alone, in the form that stock diffusers loads; returns the file or folder."""

    @abstractmethod
    def load(self, bundle: Bundle, saved: Path) -> None:
        """Put what `save` wrote onto a fresh bundle, by the stock pipeline's own loader."""

    @abstractmethod
    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        """Python that loads the result with diffusers alone; leaves it in `pipe`. `pipeline` is the class's name."""


def of_kind(parts: Mapping[str, Shapes], kind: tuple[str, ...]) -> Shapes:
    """The shapes of all parts whose names begin so."""
    return {f"{part}.{name}": shape for part, shapes in parts.items() if part.startswith(kind) for name, shape in shapes.items()}


def pipeline_lines(pipeline: str, source: str) -> list[str]:
    """Python that loads a model in float32, as `aquatint generate` does."""
    loader = "from_single_file" if source.endswith(".safetensors") else "from_pretrained"
    return [f"pipe = {pipeline}.{loader}({source!r}, dtype=torch.float32)"]
