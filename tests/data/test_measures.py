"""What is measured of a picture stays the same in its copies and tells it from others. Photographs are scikit-image's."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from aquatint.data.diagnosis import BLURRED_PX, UNIFORM_SPREAD
from aquatint.data.likeness import NEAR_BITS, groups_of, num_bits_apart
from aquatint.data.measures import CORNER_GRID, Measures, corner_map, measure

skimage_data = pytest.importorskip("skimage.data")
NAMES = ("astronaut", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "moon", "retina", "rocket")
NAMES += ("brick", "immunohistochemistry")


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage_data, name)()).convert("RGB")


def compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES = {
    "half the size, compressed": lambda image: compressed(image.resize((image.width // 2, image.height // 2)), 60),
    "larger": lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "strongly compressed": lambda image: compressed(image, 30),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
}


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_alike(name: str) -> None:
    image = photo(name)
    own = measure(image)
    for change, copied in COPIES.items():
        other = measure(copied(image))
        assert num_bits_apart(own.fingerprint, other.fingerprint) <= NEAR_BITS, change
        assert groups_of([own, other]) == [[0, 1]], change


def test_different_pictures_and_their_crops_are_not() -> None:
    whole = [photo(name) for name in NAMES]
    parts = [image.crop((x * image.width // 2, 0, (x + 1) * image.width // 2, image.height)) for image in whole for x in (0, 1)]
    assert groups_of([measure(image) for image in (*whole, *parts)]) == []


def test_one_shape_in_two_colours_is_two_pictures() -> None:
    drawn = []
    for colour in ((200, 60, 60), (60, 118, 200)):  # of one luminance
        drawn.append(Image.new("RGB", (300, 300), "white"))
        ImageDraw.Draw(drawn[-1]).ellipse((60, 40, 240, 200), fill=colour)
    red, blue = map(measure, drawn)
    assert num_bits_apart(red.fingerprint, blue.fingerprint) <= NEAR_BITS
    assert groups_of([red, blue]) == []


@pytest.mark.parametrize("name", NAMES)
def test_sharp_and_blurred_photographs_lie_apart_at_any_size(name: str) -> None:
    image = photo(name)
    longer = max(image.size)
    assert 0.3 < measure(image).edge_px < 0.9
    for scale in (1, 2):
        blurred = image.resize((image.width * scale, image.height * scale)).filter(ImageFilter.GaussianBlur(0.01 * longer * scale))
        assert measure(compressed(blurred, 90)).edge_px > BLURRED_PX


def test_an_edge_of_known_width() -> None:
    """Between black and white, blurred by a Gaussian of 3 pixels in 512."""
    step = np.zeros((512, 512), np.uint8)
    step[:, 250:] = 255
    edge = Image.fromarray(step).filter(ImageFilter.GaussianBlur(3)).convert("RGB")
    assert measure(edge).edge_px == pytest.approx(3, rel=0.25)


def test_spread_tells_one_colour_from_a_picture() -> None:
    grain = np.random.default_rng(0).integers(118, 123, (600, 800, 3)).astype(np.uint8)
    for image in (Image.new("RGB", (640, 480), (12, 80, 200)), Image.fromarray(grain)):
        assert measure(image).spread < UNIFORM_SPREAD
    spreads = [measure(photo(name)).spread for name in NAMES]
    assert min(spreads) > 5 * UNIFORM_SPREAD
    halves = Image.new("RGB", (400, 400))
    halves.paste((0, 0, 255), (0, 0, 200, 400))  # all of it in one channel
    assert measure(halves).spread == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("place", range(4))
def test_a_mark_stands_out_in_its_corner_alone(place: int) -> None:
    image = Image.new("RGB", (1024, 768), (90, 110, 130))
    draw, at = ImageDraw.Draw(image), ((760 if place & 1 else 40), (700 if place & 2 else 30))
    draw.text(at, "© somebody", fill="white", font_size=36)
    left, top, right, bottom = draw.textbbox(at, "© somebody", font_size=36)
    corners = measure(image).corners
    assert [index for index, corner in enumerate(corners) if corner] == [place]
    stands_out = corner_map(corners[place]).reshape(CORNER_GRID[1], CORNER_GRID[0])
    assert stands_out.sum() >= 24
    rows, columns = np.nonzero(stands_out)
    across, down = (left + right) / 2, (top + bottom) / 2
    assert columns.mean() * 256 / CORNER_GRID[0] == pytest.approx(1024 - across if place & 1 else across, abs=12)
    assert rows.mean() * 128 / CORNER_GRID[1] == pytest.approx(768 - down if place & 2 else down, abs=12)


@pytest.mark.parametrize("fill", ["white", "black"])
def test_borders_are_no_marks(fill: str) -> None:
    plain = Image.new("RGB", (800, 600), (120, 100, 90))
    assert measure(ImageOps.expand(plain, border=30, fill=fill)).corners == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (9000, 3), (16, 16), (383, 40), (2000, 1)])
def test_any_size_has_measures(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    found = measure(Image.fromarray(noise))
    assert 0 <= found.fingerprint < 1 << 64
    assert len(found.corners) == 4


def test_measures_can_be_written_down() -> None:
    own = measure(photo("coffee"))
    read = json.loads(json.dumps(asdict(own)))
    assert Measures(**{**read, "corners": tuple(read["corners"])}) == own
