"""What a model family must provide. Everything else is written against this file alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aquatint.core.objective import Network, Objective


class Conditioning(dict[str, Tensor]):
    """Everything the network is told besides (x_t, t), by name; every tensor has the batch first."""

    def to(self, device: torch.device) -> "Conditioning":
        return Conditioning({name: value.to(device) for name, value in self.items()})


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

    pipeline: Any
    denoiser: nn.Module
    objective: Objective
    resolution_px: int
    """Side of the square images that the checkpoint was made for."""
    width: int
    """Channels of the denoiser's widest layer."""
    autoencoder: nn.Module | None = None
    text_encoders: tuple[nn.Module, ...] = ()
    encode: Callable[["Bundle", Sequence[str]], Conditioning] | None = None
    """The family's `encode_prompts`. What it names is what the pipeline takes, and after `negative_` for the negative prompt."""
    windows: int = 1
    """How many windows of the text encoder every prompt is given: it is cut into pieces, and their encodings stand one after another."""

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

    pixel_multiple: int
    """Image sides must be divisible by this."""
    lora_targets: tuple[str, ...]
    """Names (last parts) of the denoiser's layers that LoRA adapts when the user names none."""
    convolution_targets: tuple[str, ...]
    """Those added by `method.convolutions`."""
    text_targets: tuple[str, ...]
    """Names (last parts) of the text encoder's layers that LoRA adapts on request."""

    def load(self, source: str | Path) -> Bundle:
        """From a diffusers folder, a Hub id or a single-file `.safetensors` checkpoint, in float32.

        Raises `BadBase` when there is no such model or it is of another family.
        """

    def tiny(self) -> Bundle:
        """A random miniature made of the real classes."""

    def encode_images(self, bundle: Bundle, pixels_BCHW: Tensor) -> Encoded:
        """Pixels in [-1, 1]."""

    def decode_latents(self, bundle: Bundle, latents_BCHW: Tensor) -> Tensor: ...

    def encode_prompts(self, bundle: Bundle, prompts: Sequence[str]) -> Conditioning:
        """All as long as `bundle.windows` says; pieces that a prompt does not have are the empty prompt's."""

    def num_windows(self, bundle: Bundle, prompt: str) -> int:
        """How many windows of the text encoder it takes to see all of a prompt; at least 1."""

    def cut_off(self, bundle: Bundle, prompt: str) -> str:
        """The end of a prompt that the text encoder will not see; empty when it sees all."""

    def words(self, bundle: Bundle) -> list[str]:
        """Words that are one token, commonest first; without those that also end longer words."""

    def network(self, bundle: Bundle, conditioning: Conditioning) -> Network:
        """Bind the conditioning; hides time units, packing and extra embeddings of the architecture."""
