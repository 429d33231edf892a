"""What is asked of a drawing: the settings that `aquatint generate` and Python share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from aquatint.config import Config
from aquatint.guidance.base import Guidance


class Drawing(Config):
    """Some pictures of one model."""

    prompt: str = ""
    """What to draw: a text; for a base of classes the name of one, or its number. `a {fox|owl} {on the moon|on a beach}` draws every
    combination."""
    negative: str = ""
    """What to keep away from."""
    num: PositiveInt = 1
    """How many pictures of each prompt; their seeds count up from `seed`."""
    seed: int = Field(42, ge=0)
    """Names the first picture: the same seed draws the same picture, alone or among others."""
    steps: PositiveInt = 30
    """Denoising steps."""
    scale: float = Field(5.0, ge=0)
    """Guidance scale: how strongly the pictures follow the prompt."""
    size: tuple[PositiveInt, PositiveInt] | None = None
    """Width and height in pixels. Not given: the model's own, or about that of `image`."""
    guide: tuple[Guidance, ...] = ()
    """What steers the pictures, the first of them asked first: `[color:teal, clip:an owl*0.5]`."""
    scheduler: str | None = None
    """Another sampler: `euler`, `dpm++_karras`, `unipc`, …, or a scheduler's class in diffusers. Not given: the base's own."""
    image: Path | None = None
    """A picture to change instead of beginning with noise."""
    strength: float | None = Field(None, gt=0, le=1)
    """How much of `image` may change; 1 is nearly everything. Not given: 0.75, and 1 with a mask."""
    mask: Path | None = None
    """Beside `image`: white is drawn anew, black stays as it is."""
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """How many pictures are drawn at once, which changes none of them by more than rounding; `auto` takes fewer where memory runs out."""

    @model_validator(mode="after")
    def _belongs_to_an_image(self) -> Self:
        lost = [name for name in ("mask", "strength") if getattr(self, name) is not None]
        if lost and self.image is None:
            raise ValueError(f"{lost[0]} has no effect without image=PICTURE")
        return self
