"""Windows of pictures of any size: they cover, lie inside, mirror, and follow what they are said to follow. R8, R17, R20."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aquatint.data.buckets import sizes
from aquatint.data.transforms import View, fit, geometry_of

SIDE = st.integers(1, 5000)
BUCKET = st.one_of(st.sampled_from(sizes(512, 8)), st.sampled_from(sizes(1024, 64)), st.tuples(st.integers(1, 160), st.integers(1, 160)))
WHERE = st.sampled_from(["centre", "random"])
SMALL = st.tuples(st.integers(1, 90), st.integers(1, 90))
QUICK = settings(max_examples=60, deadline=None)


def covering(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """By exact arithmetic: the picture scaled until both sides reach the size."""
    factor = max(Fraction(size[0], picture[0]), Fraction(size[1], picture[1]))
    exact = picture[0] * factor, picture[1] * factor
    return int(exact[0] + Fraction(1, 2)), int(exact[1] + Fraction(1, 2))


@given(SIDE, SIDE, BUCKET, WHERE, st.booleans(), st.integers(0, 9))
@settings(max_examples=400, deadline=None)
def test_any_picture_covers_any_bucket(width: int, height: int, size: tuple[int, int], crop: str, is_flipped: bool, seed: int) -> None:
    geometry = geometry_of((width, height), View(size, crop=crop, is_flipped=is_flipped, seed=seed))
    across, down = covering((width, height), size)
    assert geometry.crop_top_left is not None
    top, left = geometry.crop_top_left
    assert 0 <= left <= across + 1 - size[0]  # a half may be rounded the other way
    assert 0 <= top <= down + 1 - size[1]
    assert across == size[0] or down == size[1]
    assert (geometry.original_size, geometry.target_size) == ((height, width), size[::-1])
    assert geometry.upscale == pytest.approx(max(size[0] / width, size[1] / height))
    assert 0 <= geometry.cropped_share < 1
    kept = 1 - geometry.cropped_share
    assert 1 / kept == pytest.approx(across * down / (size[0] * size[1]), abs=1.001 / min(size))
    if crop == "centre":
        assert abs(2 * left - (across - size[0])) <= 2
        assert abs(2 * top - (down - size[1])) <= 2


@given(SMALL, SMALL, WHERE, st.booleans(), st.integers(0, 99))
@QUICK
def test_the_same_is_said_with_and_without_pixels(
    picture: tuple[int, int], size: tuple[int, int], crop: str, is_flipped: bool, seed: int
) -> None:
    view = View(size, crop=crop, is_flipped=is_flipped, seed=seed)
    fitted, geometry = fit(Image.new("RGB", picture, (9, 9, 9)), view)
    assert geometry == geometry_of(picture, view)
    assert fitted.size == size
    assert set(fitted.tobytes()) == {9}


@given(SMALL, SMALL)
@QUICK
def test_focus_needs_pixels_only_where_something_is_cut(picture: tuple[int, int], size: tuple[int, int]) -> None:
    view = View(size, crop="focus")
    _, geometry = fit(Image.new("RGB", picture), view)
    told = geometry_of(picture, view)
    assert (told.crop_top_left is None) == (geometry.cropped_share > 0)
    assert (told.original_size, told.upscale, told.cropped_share) == (picture[::-1], geometry.upscale, geometry.cropped_share)
    assert geometry.crop_top_left == geometry_of(picture, View(size)).crop_top_left  # a plain picture has no detail: its centre


@given(SMALL, SMALL, st.sampled_from(["centre", "random", "focus"]), st.integers(0, 99))
@QUICK
def test_flipped_is_the_mirror_and_its_own_size_is_itself(picture: tuple[int, int], size: tuple[int, int], crop: str, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (picture[1], picture[0], 3), np.uint8)
    image = Image.fromarray(values)
    plain, geometry = fit(image, View(size, crop=crop, seed=seed))
    mirrored, flipped = fit(image, View(size, crop=crop, seed=seed, is_flipped=True))
    np.testing.assert_array_equal(np.asarray(mirrored), np.asarray(plain)[:, ::-1])
    assert geometry.crop_top_left is not None
    assert flipped.crop_top_left is not None
    assert geometry.crop_top_left[0] == flipped.crop_top_left[0]
    assert geometry.crop_top_left[1] + flipped.crop_top_left[1] + size[0] in (covering(picture, size)[0], covering(picture, size)[0] - 1)
    np.testing.assert_array_equal(np.asarray(fit(image, View(picture, crop=crop, seed=seed))[0]), values)


@pytest.mark.parametrize("picture", [(5000, 1), (1, 5000), (20_000, 3)])
def test_long_thin_pictures_are_not_enlarged_whole(picture: tuple[int, int]) -> None:
    fitted, geometry = fit(Image.new("RGB", picture, (9, 9, 9)), View((512, 512)))
    assert fitted.size == (512, 512)
    assert geometry.cropped_share > 0.999


def test_random_windows_are_uniform() -> None:
    """Pearson's chi-square over 17 offsets; 39.25 is passed by chance once in a thousand."""
    drawn = [geometry_of((48, 32), View((32, 32), crop="random", seed=seed, number=number)) for seed in range(400) for number in range(4)]
    counts = np.bincount([geometry.crop_top_left[1] for geometry in drawn if geometry.crop_top_left], minlength=17)
    assert counts.sum() == 1600
    assert len(counts) == 17
    assert ((counts - 1600 / 17) ** 2 / (1600 / 17)).sum() < 39.25


def test_random_windows_of_one_picture_are_independent() -> None:
    """Which half one window lies in says nothing of the next one's: four cells of 2000, 16.27 once in a thousand."""
    halves = [
        [geometry_of((127, 64), View((64, 64), crop="random", seed=seed, number=number)).crop_top_left[1] >= 32 for number in (0, 1)]
        for seed in range(2000)
    ]
    counts = np.bincount([2 * first + second for first, second in halves], minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 16.27


@given(st.integers(0, 1), st.floats(0, 1), st.integers(60, 400), st.integers(0, 99))
@QUICK
def test_focus_finds_a_planted_square(axis: int, place: float, length: int, seed: int) -> None:
    """Noise of 12 x 12 on a flat ground: all of it is in the window, and in its middle where the picture goes on far enough."""
    side, planted = 40, 12
    values = np.full((side, length, 3), 120, np.uint8)
    start = round(place * (length - planted))
    values[14:26, start : start + planted] = np.random.default_rng(seed).integers(0, 256, (planted, planted, 3), np.uint8)
    image = Image.fromarray(values if axis == 0 else values.transpose(1, 0, 2))
    _, geometry = fit(image, View((side, side), crop="focus"))
    assert geometry.crop_top_left is not None
    offset = geometry.crop_top_left[1 - axis]
    assert geometry.crop_top_left[axis] == 0
    assert offset <= start + 2
    assert start + planted - 2 <= offset + side
    wanted = min(max(start + planted / 2 - side / 2, 0), length - side)
    assert abs(offset - wanted) <= 16


def test_focus_is_the_same_at_every_size_of_the_picture() -> None:
    values = np.full((200, 900, 3), 200, np.uint8)
    values[60:140, 640:720] = np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)
    image = Image.fromarray(values)
    found = []
    for scale in (1, 2, 4):
        large = image.resize((900 * scale, 200 * scale), Image.Resampling.NEAREST)
        _, geometry = fit(large, View((64, 64), crop="focus"))
        assert geometry.crop_top_left is not None
        found.append(geometry.crop_top_left[1])
    assert max(found) - min(found) <= 2
    assert abs(found[0] + 32 - 680 * 64 / 200) < 6
