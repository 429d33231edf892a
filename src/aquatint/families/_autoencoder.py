"""What families share that learn the latents of an `AutoencoderKL`: to the network's units and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.core.family import Bundle, Encoded


def encode_images(bundle: Bundle, pixels_BCHW: Tensor) -> Encoded:
    from aquatint.core.family import Encoded

    autoencoder: Any = bundle.autoencoder
    shift, scale = _units(autoencoder)
    posterior = autoencoder.encode(pixels_BCHW).latent_dist
    return Encoded((posterior.mean - shift) * scale, posterior.std * scale)


def decode_latents(bundle: Bundle, latents_BCHW: Tensor) -> Tensor:
    autoencoder: Any = bundle.autoencoder
    shift, scale = _units(autoencoder)
    return autoencoder.decode(latents_BCHW / scale + shift).sample


def downscale(autoencoder: Any) -> int:
    """Pixels to the side of a latent."""
    return 2 ** (len(autoencoder.config.block_out_channels) - 1)


def _units(autoencoder: Any) -> tuple[float, float]:
    config = autoencoder.config
    return config.shift_factor or 0.0, config.scaling_factor
