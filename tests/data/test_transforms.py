"""Buckets, fitting, tensors. R8, R17, R18, and the geometry SDXL is told of (R20)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aquatint.data.buckets import MAX_ASPECT, Shown, bucket_of, samples, sizes
from aquatint.data.places import File
from aquatint.data.records import ImageRecord, scan
from aquatint.data.settings import Images
from aquatint.data.transforms import Geometry, View, fit, fit_mask, load_pixels, to_image, to_latent_mask, to_tensor, views_of
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
        _, geometry = fit(Image.new("RGB", (width, height)), View(chosen)) if width * height < 10**6 else (None, None)
        assert geometry is None or geometry.cropped_share < 0.1 or min(width, height) < 64
    assert bucket_of(width, height, resolution=512, multiple=8, buckets=False) == (512, 512)


def test_samples_go_by_upright_sizes_and_the_settings(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    noise(300, 150).save(tmp_path / "turned.jpg", exif=exif)
    noise(300, 150).save(tmp_path / "wide.jpg")
    records = scan(tmp_path, Images(), trigger="x").records
    turned, wide = (shown.size for shown in samples(records, Images(), resolution=128, multiple=8))
    assert turned == wide[::-1]
    assert wide[0] > wide[1]
    square = samples(records, Images(resolution=64, buckets=False), resolution=128, multiple=8)
    assert square == [Shown(0, (64, 64)), Shown(1, (64, 64))]


@pytest.mark.parametrize(
    ("side_px", "resolution", "expected"),
    [
        (1024, (512, 768, 1024), [512, 768, 1024]),
        (683, (1024, 512, 768), [512, 768, 1024]),  # 1024 / 683 = 1.499
        (682, (512, 768, 1024), [512, 768]),  # 1024 / 682 = 1.501
        (100, (512, 768), [512]),
        (2000, (512, 512), [512]),
        (2000, 256, [256]),
        (2000, None, [64]),
    ],
)
def test_a_picture_is_shown_at_all_that_do_not_enlarge_it_much(
    side_px: int, resolution: int | tuple[int, ...] | None, expected: list[int]
) -> None:
    record = ImageRecord(File(Path("a.png")), "a.png", "", side_px, side_px, "0")
    shown = samples([record], Images(resolution=resolution), resolution=64, multiple=8)
    assert shown == [Shown(0, (side, side)) for side in expected]


def test_records_are_repeated_at_each_of_their_sizes() -> None:
    place = File(Path("a.png"))
    small, large = (ImageRecord(place, "a.png", "", side, side, "0", repeats=count) for side, count in ((64, 3), (128, 2)))
    shown = samples([small, large], Images(resolution=(64, 128)), resolution=64, multiple=8)
    assert shown == [Shown(0, (64, 64))] * 3 + [Shown(1, (64, 64))] * 2 + [Shown(1, (128, 128))] * 2


def test_a_picture_on_its_size_keeps_its_pixels(tmp_path: Path) -> None:
    image = noise(64, 48)
    fitted, geometry = fit(image, View((64, 48)))
    assert fitted.tobytes() == image.tobytes()
    assert (geometry.upscale, geometry.cropped_share, geometry.crop_top_left) == (1.0, 0.0, (0, 0))
    image.save(tmp_path / "a.png")
    pixels, _ = load_pixels(tmp_path / "a.png", View((64, 48)))
    expected = np.asarray(image, np.float64).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)
    assert pixels.dtype == torch.float32
    assert to_image(pixels).tobytes() == image.tobytes()


def test_a_picture_with_one_side_on_size_is_cut_not_resampled() -> None:
    image = noise(70, 48)
    fitted, geometry = fit(image, View((64, 48)))
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
    plain, geometry = fit(image, View(size))
    mirrored, flipped = fit(image, View(size, is_flipped=True))
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
    fitted = np.asarray(fit(image, View((50, 50)))[0], int)
    assert np.abs(fitted[:, 2:-2] - (255, 0, 0)).max() < 30


def test_to_tensor_ends() -> None:
    pixels = to_tensor(Image.fromarray(np.array([[[0, 255, 127]]], np.uint8)))
    assert pixels.shape == (3, 1, 1)
    assert pixels[:2].flatten().tolist() == [-1.0, 1.0]


# What diffusers' train_text_to_image_lora_sdxl tells the network, worked out by hand from its steps: note the height and width as
# loaded, scale the short side to the resolution, mirror, then cut, and note where that cut begins as (down, across).
# A row: picture, size, view, its crop in the scaled and mirrored picture, its height and width as loaded, its height and width as cut.
TOLD = [
    ((1024, 1024), (512, 512), View((512, 512)), (0, 0), (1024, 1024), (512, 512)),
    ((1600, 800), (512, 512), View((512, 512)), (0, 256), (800, 1600), (512, 512)),
    ((1600, 800), (512, 512), View((512, 512), is_flipped=True), (0, 256), (800, 1600), (512, 512)),
    ((800, 1600), (512, 512), View((512, 512), is_flipped=True), (256, 0), (1600, 800), (512, 512)),
    ((300, 200), (256, 256), View((256, 256)), (0, 64), (200, 300), (256, 256)),
    ((1000, 600), (640, 384), View((640, 384)), (0, 0), (600, 1000), (384, 640)),
    ((1000, 500), (640, 384), View((640, 384)), (0, 64), (500, 1000), (384, 640)),
]


@pytest.mark.parametrize(("original", "size", "view", "top_left", "loaded", "cut"), TOLD)
def test_sdxl_is_told_what_diffusers_would_tell(original: Pair, size: Pair, view: View, top_left: Pair, loaded: Pair, cut: Pair) -> None:
    fitted, geometry = fit(noise(*original), view)
    assert fitted.size == size
    assert (geometry.original_size, geometry.crop_top_left, geometry.target_size) == (loaded, top_left, cut)


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("crop", ["centre", "random", "focus"])
def test_cutting_where_sdxl_is_told_gives_these_pixels(crop: str, is_flipped: bool) -> None:
    image = noise(301, 200)
    fitted, geometry = fit(image, View((128, 128), crop=crop, number=1, seed=9, is_flipped=is_flipped))
    scaled = image.resize((193, 128), Image.Resampling.LANCZOS)
    turned = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_flipped else scaled
    top, left = geometry.crop_top_left or (-1, -1)
    difference = np.asarray(turned, int)[top : top + 128, left : left + 128] - np.asarray(fitted, int)
    assert np.abs(difference).max() <= 2


def test_views_of_a_picture() -> None:
    view = View((64, 64), seed=5, matte="black")
    assert views_of(view, (128, 64)) == (view,)
    assert [v.is_flipped for v in views_of(view, (128, 64), num_crops=3, has_mirrored=True)] == [False, True]
    random = views_of(View((64, 64), crop="random", seed=5), (128, 64), num_crops=3, has_mirrored=True)
    assert [(v.number, v.is_flipped) for v in random] == [(0, False), (0, True), (1, False), (1, True), (2, False), (2, True)]
    assert len({fit(noise(128, 64), v)[0].tobytes() for v in random}) == 6
    assert views_of(View((64, 64), crop="random"), (640, 640), num_crops=3) == (View((64, 64)),)
    assert views_of(View((64, 64), crop="focus"), (640, 640)) == (View((64, 64)),)


def test_a_mask_lies_where_its_picture_lies() -> None:
    """A picture that is its own mask in all three channels: both must be cut alike."""
    values = np.repeat(np.repeat(np.random.default_rng(3).integers(0, 2, (10, 21)) * 255, 10, 0), 10, 1).astype(np.uint8)
    mask = Image.fromarray(values)
    views = [
        View((40, 40), crop=crop, is_flipped=turn, seed=seed)
        for crop in ("centre", "random", "focus")
        for turn in (False, True)
        for seed in (1, 2)
    ]
    for view in views:
        fitted, geometry = fit(mask.convert("RGB"), view)
        weights = fit_mask(mask, view, geometry=geometry)
        halved = fit_mask(mask.resize((105, 50), Image.Resampling.BOX), view, geometry=geometry)
        seen = np.asarray(fitted, np.float64)[..., 0] / 255
        assert weights.shape == halved.shape == (1, 40, 40)
        assert 0 <= float(weights.min()) <= float(weights.max()) <= 1
        assert np.abs(weights[0].numpy() - seen).mean() < 0.05  # another filter than the picture's
        assert np.abs(halved[0].numpy() - seen).mean() < 0.08
        assert np.abs(weights[0].numpy() - seen[:, ::-1]).mean() > 0.3


def test_a_mask_on_its_size_keeps_its_values() -> None:
    values = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    _, geometry = fit(noise(64, 48), View((64, 48)))
    weights = fit_mask(Image.fromarray(values), View((64, 48)), geometry=geometry)
    np.testing.assert_allclose(weights[0].numpy(), values / 255, atol=1e-6)
    nothing = Geometry((48, 64), None, (48, 64), 1.0, 0.0)
    with pytest.raises(ValueError, match="fitted"):
        fit_mask(Image.fromarray(values), View((64, 48)), geometry=nothing)


def test_a_latent_mask_is_the_mean_of_blocks() -> None:
    mask = torch.rand(1, 48, 64, generator=torch.Generator().manual_seed(0))
    latent = to_latent_mask(mask, 8)
    assert latent.shape == (1, 6, 8)
    for row in range(6):
        for column in range(8):
            block = mask[0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            assert float(latent[0, row, column]) == pytest.approx(float(block.mean()), abs=1e-6)
    with pytest.raises(RuntimeError):
        to_latent_mask(mask, 7)


def test_identity_differs_wherever_pixels_might() -> None:
    views = [
        View((64, 48)), View((48, 64)), View((64, 48), matte="black"), View((64, 48), is_flipped=True), View((64, 48), crop="focus"),
        View((64, 48), crop="random"), View((64, 48), crop="random", number=1), View((64, 48), crop="random", seed=1),
        View((64, 48), crop="random", is_flipped=True),
    ]  # fmt: skip
    assert len({view.identity() for view in views}) == len(views)
    for crop in ("centre", "focus"):  # what changes no pixel does not throw the cache away
        assert View((64, 48), crop=crop, seed=1, number=2).identity() == View((64, 48), crop=crop).identity()
