"""Pictures of every family whose pipeline takes a prompt: of any size, alone or in a batch, and as latents."""

import numpy as np
import pytest
import torch

from aquatint.core.request import Request
from aquatint.generation.drawing import draw, draw_latents

REQUESTS = [Request("a disc", 1, num_steps=2), Request("two foxes", 2, num_steps=2), Request("", 3, num_steps=2)]


@pytest.fixture(params=["flux", "sd3", "sdxl"])
def bundle(request, miniature):
    return miniature(request.param)


def sized(width, height):
    return [Request(r.prompt, r.seed, num_steps=2, width_px=width, height_px=height) for r in REQUESTS]


@pytest.mark.parametrize(("size", "requests"), [((16, 16), REQUESTS), ((32, 16), sized(32, 16)), ((16, 48), sized(16, 48))])
def test_a_batch_is_its_pictures_one_by_one(size, requests, bundle):
    together, alone = list(draw(bundle, requests, batch_size=3)), list(draw(bundle, requests))
    assert {picture.size for picture in together} == {size}
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 1
    assert len({picture.tobytes() for picture in alone}) == 3


@pytest.mark.parametrize("size", [(16, 16), (32, 16)])
def test_latents_are_the_picture_before_the_autoencoder(size, bundle):
    requests = sized(*size)[:1]
    latents = draw_latents(bundle, requests)
    assert latents.shape == (1, 4, size[1] // 2, size[0] // 2)
    with torch.no_grad():
        pixels = bundle.family.decode_latents(bundle, latents)
    (expected,) = draw(bundle, requests)
    found = ((pixels[0] / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(found - np.asarray(expected)).max() <= 1


def test_latents_are_in_the_networks_units(bundle):
    """By the autoencoder's own shift and scale."""
    pixels, config = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1, bundle.autoencoder.config
    with torch.no_grad():
        posterior = bundle.autoencoder.encode(pixels).latent_dist
        encoded = bundle.family.encode_images(bundle, pixels)
        decoded = bundle.family.decode_latents(bundle, encoded.mean_BCHW)
        torch.testing.assert_close(decoded, bundle.autoencoder.decode(posterior.mean).sample)
    shift, scale = {0.13025: (0, 0.13025), 1.5305: (0.0609, 1.5305), 0.3611: (0.1159, 0.3611)}[config.scaling_factor]
    torch.testing.assert_close(encoded.mean_BCHW, (posterior.mean - shift) * scale)
    torch.testing.assert_close(encoded.std_BCHW, posterior.std * scale)
