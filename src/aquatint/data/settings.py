"""The settings of a picture folder: what is read from it and what the model is shown."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, field_validator

from aquatint.config import Config

Crop = Literal["centre", "random", "focus"]
LEAST_PX = 8
Finite = Annotated[float, Field(allow_inf_nan=False)]
PLACEHOLDERS = ("caption", "trigger", "name")


class Images(Config):
    resolution: int | tuple[int, ...] | None = None
    """Side in pixels of a square picture; pictures of other shapes get about the same area. Several ([512,768,1024]): each
    picture is shown at all that do not enlarge it more than 1.5 times, or at the smallest. Default: the model's own size."""
    buckets: bool = True
    """Show pictures in nearly their own shape, grouped by it and barely cropped. false: every picture is cropped to a square."""
    crop: Crop = "centre"
    """Which part stays when a picture must be cropped: its centre, random parts, or (focus) where most of its edges are."""
    crops: int = Field(default=4, ge=1)
    """With crop=random: in how many ways each picture is cut. They are chosen once, encoded once and kept."""
    flip: bool = False
    """Show every picture mirrored half of the time. Not for things with a left and a right (text, faces)."""
    matte: str = "white"
    """Colour put under transparent pictures: a name or #rrggbb."""
    repeats: int | None = Field(default=None, ge=1)
    """Times each picture comes in one round through the set (epoch). Default: derived, so that small sets fill their batches."""
    template: str | None = None
    """What the model reads, with {caption}, {trigger}, {name} filled in. Default: the caption, opened by the trigger if it lacks it."""
    caption_column: str | None = None
    """Column of a list or dataset that holds captions, or key in .json files. Default: text, caption or prompt, the first there is."""
    caption_from_name: bool = False
    """Pictures without a caption get their file name as one: `a_red_cat_03.png` reads "a red cat"."""
    allow_missing_captions: bool = False
    """Go on when some pictures have no caption; theirs is empty."""
    skip_bad: bool = False
    """Go on without pictures that cannot be read and rows that cannot be used; a warning names each."""
    caption_from_folder: bool = False
    """Pictures without a caption get the name of their folder as one: `cats/10_tabby/1.png` reads "tabby"."""
    caption_lines: Literal["join", "choose"] = "join"
    """What several lines in a caption are. join: one text. choose: alternatives, of which `3::a cat` comes three times as often.
    Of several captions in a .json file join takes the first."""
    caption_shuffle: bool = False
    """Show what commas separate in changing order. In `first, second ||| any, order ||| last` only the middle changes."""
    caption_keep: int = Field(default=1, ge=0)
    """With caption_shuffle, where no `|||` says: how many parts stay in front. A trigger that the caption lacks is put there and is
    one of them."""
    caption_variants: int | None = Field(default=None, ge=1, le=1000)
    """Versions of a caption at most, where it has several: lines to choose from, wildcards `{a|2::b}`, changing order. Training draws
    from them. Default: 8."""
    long_captions: Literal["cut", "join"] = "cut"
    """What the text encoder's window cannot hold is cut off, and told. join: long captions are read through up to three windows, cut at
    commas and ends of sentences. Stock pipelines read one; `aquatint generate` reads as many as the run."""
    captioner: str | None = None
    """Pictures without a caption get one from this model: a transformers image-to-text model such as BLIP, as a folder or Hub id."""
    masks: Literal["use", "opacity", "ignore"] = "use"
    """Which part of a picture is learned. use: where its mask is white (`cat.mask.png` or `cat-masklabel.png` beside `cat.png`).
    opacity: where it is opaque. ignore: all of it."""
    slices: Literal["x", "y", "z"] = "z"
    """The axis across which a volume (NIfTI) is cut into pictures: z gives axial slices, y coronal, x sagittal ones."""
    window: tuple[Finite, Annotated[Finite, Field(gt=0)]] | None = None
    """Values of a scan that run from black to white, as [centre, width] in its unit: [40, 400] shows the soft parts in a CT.
    Default: what the file says, else all but its rarest values."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Those asked for, ascending; none: the model's own."""
        asked = self.resolution
        return () if asked is None else (asked,) if isinstance(asked, int) else tuple(sorted(set(asked)))

    @field_validator("resolution")
    @classmethod
    def _are_sides(cls, value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        sides = (value,) if isinstance(value, int) else value
        if sides is not None and min(sides, default=0) < LEAST_PX:
            raise ValueError(f"must be a side of at least {LEAST_PX} pixels, or several ([512,768])")
        return value

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
