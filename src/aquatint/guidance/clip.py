"""CLIP guidance: towards a text or a picture, as a CLIP model sees them (Radford et al. 2021; Crowson 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from aquatint.errors import BadSetting
from aquatint.guidance import _models
from aquatint.guidance._pictures import Cutouts, check_picture, pixels_of
from aquatint.guidance.base import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.denoising import Scene
    from aquatint.core.steering import Loss
    from aquatint.guidance._clip import ClipEncoder

LARGEST_OF_THE_SHIPPED = 128
"""Pixels: pictures of the embedded model's world have 64."""


class Clip(Wish, kind="clip"):
    """Moves the picture to what a CLIP model takes for `text`, or for the same as `image`; without a prompt too."""

    text: str = ""
    """What the picture shall show."""
    image: Path | None = None
    """A picture that it shall be like in what it shows, instead of a text."""
    model: str = "pocket"
    """A CLIPModel folder or Hub id, like `openai/clip-vit-base-patch32`. `pocket` ships, and knows the embedded model's world alone."""
    cutouts: int = Field(2, ge=0, le=256)
    """How many pieces of the picture are looked at beside the whole, at every step others: what is drawn then shows the wish to other eyes
    too, and CLIP has as many times more to do."""
    scale: float = Field(2.0, ge=0)
    """As for every wish. There is no end to likeness, so each look goes as far as this allows."""

    by: ClassVar = "text"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.text) == bool(self.image):
            raise ValueError("say text=…, or image=…, and not both: what shall the picture be like?")
        return self

    @field_validator("image")
    @classmethod
    def _is_picture(cls, image: Path | None) -> Path | None:
        return image and check_picture(image)

    @field_validator("model")
    @classmethod
    def _is_somewhere(cls, model: str) -> str:
        _models.place(model)
        return model

    @property
    def is_bounded(self) -> bool:
        """No picture is a text."""
        return False

    def losses(self, scene: Scene) -> Loss:
        from aquatint.guidance._clip import ClipEncoder

        if self.model == "pocket" and max(scene.size_px) > LARGEST_OF_THE_SHIPPED:
            why = f"the CLIP that ships knows pictures of 64 px, not of {max(scene.size_px)}"
            raise BadSetting(f"clip: {why}; set its model, to openai/clip-vit-base-patch32 for one")
        clip = ClipEncoder(self.model)
        wanted_1D, cut = self._wanted(clip), Cutouts(self.cutouts, clip.eye.size_px)

        def losses(pixels: Tensor) -> Tensor:
            """1 - cosine, mean over whole and pieces."""
            views = cut(pixels)
            cosines = clip.pictures(views) @ wanted_1D[0].to(views)
            return 1 - cosines.view(-1, len(pixels)).mean(0)

        return losses

    def _wanted(self, clip: ClipEncoder) -> Tensor:
        """(1, D)."""
        return clip.texts([self.text]) if self.image is None else clip.pictures(pixels_of(self.image))
