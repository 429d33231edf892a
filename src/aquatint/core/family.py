"""What a model family must provide. Everything else is written against this file alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from aquatint.core.objective import Network, Objective
from aquatint.core.request import Request

Told = Literal["nothing", "text", "classes"]
"""What a model is told of the picture that it shall draw."""
Draws = Callable[[str], Any]
"""An `output_type` of the stock pipeline -> the pictures in that form."""


def _as_it_is(bundle: "Bundle", requests: Sequence[Request]) -> AbstractContextManager[None]:
    return nullcontext()


class Conditioning(dict[str, Tensor]):
    """Everything the network is told besides (x_t, t), by name; every tensor has the batch first."""

    def to(self, device: torch.device) -> "Conditioning":
        return Conditioning({name: value.to(device) for name, value in self.items()})


@dataclass(frozen=True)
class Conditions:
    """What a drawing is told, a row for each picture, and what guidance compares that with."""

    given: Conditioning
    against: Conditioning | None = None
    """The negative prompt, or nothing said; None where nothing is subtracted."""
    scale: float = 1.0
    """How far to go from one to the other, and beyond (Ho & Salimans 2022); 1 is what is given."""


@dataclass(frozen=True)
class Encoded:
    """Images as the network sees them: a Gaussian for each, from which every training step draws anew."""

    mean_BCHW: Tensor
    std_BCHW: Tensor
    """Zero where the encoding is exact."""
    mask_B1HW: Tensor | None = None
    """How much each place counts, in [0, 1]; None for all alike."""


@dataclass
class Bundle:
    """A loaded checkpoint: the stock diffusers pipeline, and our names for its parts."""

    family: "ModelFamily"
    pipeline: Any
    denoiser: nn.Module
    objective: Objective
    resolution_px: int
    """Side of the square images that the checkpoint was made for."""
    width: int
    """Channels of the denoiser's widest layer."""
    told: Told = "text"
    labels: tuple[str, ...] = ()
    """Names of the classes in the order of their numbers, where the model is told a class."""
    null_class: int | None = None
    """The number that says "no class"; None where the model knows none."""
    side_multiple: int = 1
    """Sides of pictures must be divisible by this, in pixels."""
    is_framed: bool = False
    """Whether it takes squares of `resolution_px` alone."""
    autoencoder: nn.Module | None = None
    text_encoders: tuple[nn.Module, ...] = ()
    """All that read the prompt."""
    windows: int = 1
    """How many windows of the text encoder every prompt is given: it is cut into pieces, and their encodings stand one after another."""
    while_drawing: Callable[["Bundle", Sequence[Request]], AbstractContextManager[None]] = _as_it_is
    """What must hold while the stock pipeline draws these requests, where its arguments cannot say all."""
    reading: str = ""
    """What the encoding of a prompt depends on beside the encoders' weights and `windows`; empty where that is nothing."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Bundle":
        """All but the family, of which there is one."""
        memo[id(self.family)] = self.family
        return replace(self, **{field.name: deepcopy(getattr(self, field.name), memo) for field in fields(self)})

    @property
    def adaptable(self) -> tuple[nn.Module, ...]:
        """The text encoders that can be trained, or learn a word, in the order of the family's `text_parts`."""
        return tuple(part for name in self.family.text_parts if (part := getattr(self.pipeline, name, None)) is not None)

    @property
    def tokenizers(self) -> tuple[Any, ...]:
        """Of the `adaptable` ones, in the same order."""
        names = [name for name in self.family.text_parts if getattr(self.pipeline, name, None) is not None]
        return tuple(getattr(self.pipeline, name.replace("text_encoder", "tokenizer")) for name in names)

    @property
    def knows_empty(self) -> bool:
        """Whether the empty prompt means something to it: no text, or no class."""
        return self.told == "text" or self.null_class is not None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return tuple(m for m in (self.denoiser, self.autoencoder, *self.text_encoders) if m is not None)

    def freeze(self) -> "Bundle":
        """No gradients and no dropout anywhere; a method then thaws what it trains."""
        for module in self.modules:
            module.requires_grad_(False).eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""
        return next(self.denoiser.parameters()).device

    def to(self, device: torch.device | str) -> "Bundle":
        for module in self.modules:
            module.to(device)
        return self

    def shape(self, width_px: int | None = None, height_px: int | None = None) -> tuple[int, int, int]:
        """(C, H, W) of a picture as the network sees it; without a size the model's own."""
        width, height = width_px or self.resolution_px, height_px or self.resolution_px
        if self.autoencoder is None:
            return self.config.in_channels, height, width
        config: Any = self.autoencoder.config
        factor = 2 ** (len(config.block_out_channels) - 1)
        return config.latent_channels, height // factor, width // factor

    @property
    def config(self) -> Any:
        """Of the denoiser."""
        return self.denoiser.config

    def rest(self) -> None:
        """Frozen encoders leave the device for the CPU: between encoding and drawing nobody asks them."""
        for module in self.modules[1:]:
            if not any(p.requires_grad for p in module.parameters()):
                module.to("cpu")

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside, all parts are on the denoiser's device; those that rested go back afterwards."""
        away = [(m, p.device) for m in self.modules if (p := next(m.parameters())).device != self.device]
        for module, _ in away:
            module.to(self.device)
        try:
            yield
        finally:
            for module, place in away:
                module.to(place)


class ModelFamily(Protocol):
    """The module-level names of a file in `families/`."""

    PIPELINES: Mapping[str, Told]
    """Classes of stock pipelines that it loads, and what each is told. The first is that of a single file."""
    LABELLED: tuple[str, ...]
    """Those of `PIPELINES` whose denoiser may have to be told a class, though the pipeline cannot say one; its config tells.
    A family that has none may leave this out."""
    FILE_PARTS: Mapping[str, str]
    """Part, as the pipeline names it -> how its weights' names begin in a single file. Empty where there are no such files."""
    MARKS: tuple[str, ...]
    """Beginnings of weights' names of which each occurs in its single files; a file is of the family with the most that fit."""
    pixel_multiple: int
    """Image sides must be divisible by this, whatever the checkpoint; `Bundle.side_multiple` is exact."""
    text_parts: tuple[str, ...]
    """The pipeline's text encoders that can be trained or learn a word."""
    no_own_word: str | None
    """Why these cannot be taught a word of the user's own that stock pipelines load; None where they can."""
    lora_targets: tuple[str, ...]
    """Names (last parts) of the denoiser's layers that LoRA adapts when the user names none."""
    convolution_targets: tuple[str, ...]
    """Those added by `method.convolutions`."""
    text_targets: tuple[str, ...]
    """Names (last parts) of the text encoders' layers that LoRA adapts on request."""

    def load(self, source: str | Path) -> Bundle:
        """From a diffusers folder, a Hub id or a single-file `.safetensors` checkpoint, in float32.

        Raises `BadBase` when there is no such model or it is of another family.
        """

    def tiny(self, told: Told | None = None) -> Bundle:
        """A random miniature made of the real classes; of the first of `PIPELINES`, or the first that is told this."""

    def encode_images(self, bundle: Bundle, pixels_BCHW: Tensor) -> Encoded:
        """Pixels in [-1, 1], (B, 3, H, W)."""

    def decode_latents(self, bundle: Bundle, latents_BCHW: Tensor) -> Tensor:
        """To pixels (B, 3, H, W), about in [-1, 1]."""

    def encode_prompts(self, bundle: Bundle, prompts: Sequence[str]) -> Conditioning:
        """What the network is told: empty for a model that is told nothing; the numbers of the classes that the prompts name.

        Texts are all as long as `bundle.windows` says; pieces that a prompt does not have are the empty prompt's. Raises `BadSetting`
        for a class that there is not.
        """

    def asked(self, bundle: Bundle, requests: Sequence[Request]) -> dict[str, Any]:
        """The stock pipeline's arguments for these pictures, but for steps, generators and the form of the result.

        The requests agree in all but prompt and seed.
        """

    def conditions(self, bundle: Bundle, requests: Sequence[Request]) -> Conditions:
        """What the stock pipeline would tell the network for these pictures; raises as `asked` does.

        The requests agree in all but prompt, negative prompt and seed.
        """

    def set_steps(self, bundle: Bundle, num_steps: int, *, shape: tuple[int, ...]) -> None:
        """Tell the pipeline's scheduler to take so many steps for pictures of this (C, H, W), as the stock pipeline does."""

    def drawn_latents(self, bundle: Bundle, draws: Draws) -> Tensor:
        """(B, C, H, W) in the units that the network is trained on, from `draws("latent")` or whatever the pipeline can give."""

    def num_windows(self, bundle: Bundle, prompt: str) -> int:
        """How many windows of the text encoder it takes to see all of a prompt; at least 1."""

    def cut_off(self, bundle: Bundle, prompt: str) -> str:
        """The end of a prompt that none of the text encoders will see; empty when one of them sees all."""

    def words(self, bundle: Bundle) -> list[str]:
        """Words that are one token, commonest first; without those that also end longer words. None where no text is read."""

    def network(self, bundle: Bundle, conditioning: Conditioning) -> Network:
        """Bind the conditioning; hides time units, packing and extra embeddings of the architecture."""
