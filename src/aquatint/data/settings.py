"""The settings of a picture folder: what is read from it and what the model is shown."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, field_validator

from aquatint.config import Config

Finite = Annotated[float, Field(allow_inf_nan=False)]
PLACEHOLDERS = ("caption", "trigger", "name")


class Images(Config):
    resolution: int | None = Field(default=None, ge=8)
    """Side in pixels of a square picture; pictures of other shapes get about the same area. Default: the model's own size."""
    buckets: bool = True
    """Keep shapes: pictures are grouped by aspect and barely cropped. Off: every picture is cropped to the square."""
    crop: Literal["centre"] = "centre"
    """Which part stays when a picture must be cropped."""
    flip: bool = False
    """Show every picture mirrored half of the time. Not for things with a left and a right (text, faces)."""
    matte: str = "white"
    """Colour put under transparent pictures: a name or #rrggbb."""
    repeats: int | None = Field(default=None, ge=1)
    """Times each picture is shown in an epoch. Default: derived from the number of pictures, so that small sets fill their batches."""
    template: str | None = None
    """What the model reads, with {caption}, {trigger}, {name} filled in. Default: the caption, opened by the trigger if it lacks it."""
    caption_column: str | None = None
    """Column of metadata.csv or metadata.jsonl that holds captions. Default: text, caption or prompt, the first that exists."""
    caption_from_name: bool = False
    """Pictures without a caption get their file name as one: `a_red_cat_03.png` reads "a red cat"."""
    allow_missing_captions: bool = False
    """Go on when some pictures have no caption; theirs is empty."""
    skip_bad: bool = False
    """Go on without the files that cannot be read; they are listed."""
    slices: Literal["x", "y", "z"] = "z"
    """Across what a volume (NIfTI) is cut: z for axial slices, y for coronal, x for sagittal ones."""
    window: tuple[Finite, Annotated[Finite, Field(gt=0)]] | None = None
    """Centre and width of the values of scans that are shown from black to white, in their unit: [40, 400] for the soft parts in a CT.
    Default: what the file says, else all but the rarest of its values."""

    @field_validator("matte")
    @classmethod
    def _is_colour(cls, value: str) -> str:
        from PIL import ImageColor

        ImageColor.getrgb(value)  # its ValueError names the colour
        return value

    @field_validator("template")
    @classmethod
    def _is_fillable(cls, value: str | None) -> str | None:
        for _, name, form, conversion in Formatter().parse(value or ""):
            if name is not None and (name not in PLACEHOLDERS or form or conversion):
                raise ValueError(f"{{{name}}} is unknown here; known: {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}")
        return value
