"""What is wanted of a model: one picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One picture. Its prompt is what the model is told: a text, the name of a class, or nothing at all."""

    prompt: str
    seed: int
    num_steps: int = 30
    scale: float = 5.0
    negative: str = ""
    width_px: int | None = None
    """Not given: the model's own size."""
    height_px: int | None = None
