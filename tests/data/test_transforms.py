"""Buckets, fitting, tensors. R8, R17, R18, and the geometry SDXL is told of (R20)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aquatint.data.buckets import MAX_ASPECT, assign, bucket_of, sizes
from aquatint.data.records import scan
from aquatint.data.settings import Images
from aquatint.data.transforms import fit, identity, load_pixels, to_image, to_tensor
from aquatint.errors import AquatintError

Pair = tuple[int, int]


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@given(multiple=st.sampled_from([1, 2, 4, 8, 16, 32, 64]), times=st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_every_bucket_fits_the_model_and_the_area(multiple: int, times: int) -> None:
    resolution = multiple * times
    found = sizes(resolution, multiple)
    assert (resolution, resolution) in found
    assert sorted(found) == list(found)
    assert len(set(found)) == len(found) <= 40
    step = resolution / 16 + multiple
    for width, height in found:
        assert width % multiple == height % multiple == 0
        assert (height, width) in found
        assert max(width / height, height / width) <= MAX_ASPECT
        assert width * height <= resolution * resolution
        assert width * height >= resolution * resolution - step * (max(width, height) + step)


def test_the_well_known_sizes_of_sdxl_are_among_ours() -> None:
    assert {(1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216), (1344, 768), (768, 1344), (1536, 640)} <= set(sizes(1024, 8))


def test_a_resolution_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(AquatintError, match="496 or 504"):
        sizes(500, 8)


@given(width=st.integers(1, 6000), height=st.integers(1, 6000))
@settings(max_examples=80, deadline=None)
def test_the_bucket_is_the_nearest_in_aspect(width: int, height: int) -> None:
    chosen = bucket_of(width, height, resolution=512, multiple=8)
    assert bucket_of(height, width, resolution=512, multiple=8) == chosen[::-1]
    distance = {size: max(width * size[1] / (height * size[0]), height * size[0] / (width * size[1])) for size in sizes(512, 8)}
    assert distance[chosen] <= min(distance.values()) * (1 + 1e-9)
    if 1 / 2.2 < width / height < 2.2:
        _, geometry = fit(Image.new("RGB", (width, height)), chosen) if width * height < 10**6 else (None, None)
        assert geometry is None or geometry.cropped_share < 0.1 or min(width, height) < 64
    assert bucket_of(width, height, resolution=512, multiple=8, buckets=False) == (512, 512)


def test_assign_goes_by_upright_sizes_and_the_settings(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    noise(300, 150).save(tmp_path / "turned.jpg", exif=exif)
    noise(300, 150).save(tmp_path / "wide.jpg")
    records = scan(tmp_path, Images(), trigger="x").records
    turned, wide = assign(records, Images(), resolution=128, multiple=8)
    assert turned == wide[::-1]
    assert wide[0] > wide[1]
    assert assign(records, Images(resolution=64, buckets=False), resolution=128, multiple=8) == [(64, 64)] * 2


def test_a_picture_on_its_size_keeps_its_pixels(tmp_path: Path) -> None:
    image = noise(64, 48)
    fitted, geometry = fit(image, (64, 48))
    assert fitted.tobytes() == image.tobytes()
    assert (geometry.upscale, geometry.cropped_share, geometry.crop_top_left) == (1.0, 0.0, (0, 0))
    image.save(tmp_path / "a.png")
    pixels, _ = load_pixels(tmp_path / "a.png", (64, 48))
    expected = np.asarray(image, np.float64).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)
    assert pixels.dtype == torch.float32
    assert to_image(pixels).tobytes() == image.tobytes()


def test_a_picture_with_one_side_on_size_is_cut_not_resampled() -> None:
    image = noise(70, 48)
    fitted, geometry = fit(image, (64, 48))
    assert fitted.tobytes() == image.crop((3, 0, 67, 48)).tobytes()
    assert geometry.crop_top_left == (0, 3)


@pytest.mark.parametrize(
    ("original", "size", "top_left", "flipped_top_left", "upscale", "share"),
    [
        ((128, 64), (64, 64), (0, 32), (0, 32), 1.0, 0.5),
        ((64, 32), (64, 64), (0, 32), (0, 32), 2.0, 0.5),
        ((67, 32), (32, 32), (0, 17), (0, 18), 1.0, 1 - 32 / 67),
        ((200, 100), (64, 48), (0, 16), (0, 16), 0.48, 1 - 64 * 48 / (96 * 48)),
        ((100, 400), (64, 48), (104, 0), (104, 0), 0.64, 1 - 48 / 256),
    ],
)
def test_geometry_by_hand(
    original: Pair, size: Pair, top_left: Pair, flipped_top_left: Pair, upscale: float, share: float
) -> None:
    image = noise(*original)
    plain, geometry = fit(image, size)
    mirrored, flipped = fit(image, size, is_flipped=True)
    assert plain.size == mirrored.size == size
    assert geometry.original_size == flipped.original_size == original[::-1]
    assert geometry.target_size == size[::-1]
    assert (geometry.crop_top_left, flipped.crop_top_left) == (top_left, flipped_top_left)
    assert geometry.upscale == pytest.approx(upscale)
    assert geometry.cropped_share == pytest.approx(share)
    np.testing.assert_array_equal(np.asarray(mirrored), np.asarray(plain)[:, ::-1])


def test_the_centre_stays() -> None:
    image = Image.new("RGB", (300, 100), (0, 0, 255))
    image.paste((255, 0, 0), (100, 0, 200, 100))
    fitted = np.asarray(fit(image, (50, 50))[0], int)
    assert np.abs(fitted[:, 2:-2] - (255, 0, 0)).max() < 30


@given(width=st.integers(1, 300), height=st.integers(1, 300), size=st.tuples(st.integers(1, 8), st.integers(1, 8)))
@settings(max_examples=80, deadline=None)
def test_fit_always_covers(width: int, height: int, size: tuple[int, int]) -> None:
    target = size[0] * 8, size[1] * 8
    fitted, geometry = fit(Image.new("RGB", (width, height), (9, 9, 9)), target)
    assert fitted.size == target
    assert set(fitted.tobytes()) == {9}
    assert 0 <= geometry.cropped_share < 1
    assert min(geometry.crop_top_left) >= 0


def test_to_tensor_ends() -> None:
    pixels = to_tensor(Image.fromarray(np.array([[[0, 255, 127]]], np.uint8)))
    assert pixels.shape == (3, 1, 1)
    assert pixels[:2].flatten().tolist() == [-1.0, 1.0]


def test_identity_differs_wherever_pixels_might() -> None:
    texts = {identity((64, 48)), identity((48, 64)), identity((64, 48), matte="black"), identity((64, 48), is_flipped=True)}
    assert len(texts) == 4
