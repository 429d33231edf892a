"""Draw the pocket world: 64 x 64 pictures of things in places, each with a caption.

The things are glyphs of Google's Noto Color Emoji (SIL Open Font License 1.1); the places are drawn here.
Everything is a function of a `random.Random`, so a seed names a picture for ever.
"""

import io
import random
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageEnhance
from things import HELD_OUT, TRAINED

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian package fonts-noto-color-emoji
SIDE_PX = 64
CANVAS_PX = 128
"""Pictures are drawn at twice their size and reduced, so that edges are smooth."""

Canvas = Image.Image
Rng = random.Random


@dataclass(frozen=True)
class Picture:
    image: Image.Image
    thing: str
    place: str
    count: int
    caption: str


# ---------------------------------------------------------------------------------------------- things


@cache
def glyph(thing: str) -> Image.Image:
    """The font's bitmap (RGBA, cropped to what is not transparent) of a thing."""
    name = (TRAINED | HELD_OUT)[thing]
    font, bitmaps = _font()
    image = Image.open(io.BytesIO(bitmaps[font[name]].imageData)).convert("RGBA")
    return image.crop(image.getbbox())


@cache
def _font() -> tuple[dict[str, str], Mapping]:
    font = TTFont(FONT)
    names = {unicodedata.name(chr(code), "").lower(): glyph for code, glyph in font.getBestCmap().items()}
    return names, font["CBDT"].strikeData[0]


# ---------------------------------------------------------------------------------------------- places

_SOLID = {
    "red": (214, 48, 49), "blue": (9, 132, 227), "green": (0, 148, 90), "yellow": (253, 213, 70),
    "white": (245, 245, 245), "purple": (108, 72, 211), "pink": (253, 167, 223), "gray": (120, 125, 130),
}  # fmt: skip


def _solid(colour: tuple[int, int, int]) -> Callable[[Rng], Canvas]:
    def draw(rng: Rng) -> Canvas:
        return Image.new("RGB", (CANVAS_PX,) * 2, tuple(min(255, max(0, v + rng.randint(-8, 8))) for v in colour))

    return draw


def _gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Canvas:
    share = np.linspace(0, 1, CANVAS_PX)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(rows.repeat(CANVAS_PX, 1).astype("uint8"))


def _dots(draw: ImageDraw.ImageDraw, rng: Rng, *, count: int, top: float, bottom: float, colours: list[str], radius: float) -> None:
    for _ in range(count):
        x, y = rng.uniform(0, CANVAS_PX), rng.uniform(top, bottom) * CANVAS_PX
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=rng.choice(colours))


def _night_sky(rng: Rng) -> Canvas:
    image = _gradient((6, 6, 34), (28, 22, 84))
    _dots(ImageDraw.Draw(image), rng, count=22, top=0, bottom=1, colours=["#fff", "#ffd", "#ccf"], radius=1.1)
    return image


def _beach(rng: Rng) -> Canvas:
    image = _gradient((120, 200, 255), (190, 230, 255))
    draw, horizon, shore = ImageDraw.Draw(image), CANVAS_PX * rng.uniform(0.42, 0.5), CANVAS_PX * rng.uniform(0.66, 0.72)
    draw.rectangle((0, horizon, CANVAS_PX, shore), (20, 120, 190))
    draw.rectangle((0, shore, CANVAS_PX, CANVAS_PX), (240, 215, 150))
    return image


def _meadow(rng: Rng) -> Canvas:
    image = _gradient((130, 200, 250), (220, 240, 255))
    draw, horizon = ImageDraw.Draw(image), rng.uniform(0.5, 0.62)
    draw.rectangle((0, horizon * CANVAS_PX, CANVAS_PX, CANVAS_PX), (82, 170, 62))
    _dots(draw, rng, count=10, top=horizon + 0.04, bottom=1, colours=["#fff", "#fd5", "#f8a"], radius=1.6)
    return image


def _desert(rng: Rng) -> Canvas:
    image, shift = _gradient((255, 176, 100), (255, 222, 165)), rng.uniform(-0.1, 0.1)
    draw, size = ImageDraw.Draw(image), CANVAS_PX
    draw.ellipse(((shift - 0.3) * size, 0.58 * size, (shift + 0.85) * size, 1.6 * size), (214, 150, 76))
    draw.ellipse(((shift + 0.3) * size, 0.68 * size, (shift + 1.5) * size, 1.7 * size), (190, 128, 60))
    return image


def _snow(rng: Rng) -> Canvas:
    image = _gradient((140, 168, 205), (208, 220, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, rng.uniform(0.6, 0.7) * CANVAS_PX, CANVAS_PX, CANVAS_PX), (248, 250, 255))
    _dots(draw, rng, count=14, top=0, bottom=0.65, colours=["#fff"], radius=1.6)
    return image


def _brick_wall(rng: Rng) -> Canvas:
    image, height, width, offset = Image.new("RGB", (CANVAS_PX,) * 2, (158, 72, 52)), 16, 32, rng.randrange(4) * 4
    draw = ImageDraw.Draw(image)
    for row, y in enumerate(range(-offset, CANVAS_PX, height)):
        draw.line((0, y, CANVAS_PX, y), (212, 196, 184), 2)
        for x in range(width // 2 * (row % 2), CANVAS_PX, width):
            draw.line((x, y, x, y + height), (212, 196, 184), 2)
    return image


def _wooden_table(rng: Rng) -> Canvas:
    image = Image.new("RGB", (CANVAS_PX,) * 2, (168, 116, 64))
    draw = ImageDraw.Draw(image)
    for y in range(rng.randrange(16), CANVAS_PX, 16):
        draw.line((0, y, CANVAS_PX, y + rng.randint(-3, 3)), (124, 80, 42), 2)
    return image


def _moon(rng: Rng) -> Canvas:
    image, size = Image.new("RGB", (CANVAS_PX,) * 2, (6, 6, 14)), CANVAS_PX
    draw, top = ImageDraw.Draw(image), rng.uniform(0.52, 0.6)
    _dots(draw, rng, count=10, top=0, bottom=0.5, colours=["#fff"], radius=1.0)
    draw.ellipse((-0.4 * size, top * size, 1.4 * size, (top + 1.6) * size), (172, 172, 178))
    for _ in range(5):
        x, y, radius = rng.uniform(0, size), rng.uniform(top + 0.15, 1) * size, rng.uniform(4, 9)
        draw.ellipse((x - radius, y - radius / 2, x + radius, y + radius / 2), (138, 138, 146))
    return image


PLACES: dict[str, Callable[[Rng], Canvas]] = {
    **{f"on a {name} background": _solid(colour) for name, colour in _SOLID.items()},
    "in the night sky": _night_sky, "on a beach": _beach, "in a meadow": _meadow, "in the desert": _desert,
    "in the snow": _snow, "in front of a brick wall": _brick_wall, "on a wooden table": _wooden_table,
    "on the moon": _moon,
}  # fmt: skip
"""The words that end a caption -> how that place is drawn."""

# ---------------------------------------------------------------------------------------------- pictures

_COUNTS = {1: 0.9, 2: 0.06, 3: 0.04}
_NUMBERS = {2: "two", 3: "three"}
_FORMS = {
    "{what} {place}": 0.6, "a photo of {what} {place}": 0.15, "{place}, {what}": 0.05, "a picture of {what} {place}": 0.1,
    "{bare} {place}": 0.1,
}  # fmt: skip


def draw_picture(rng: Rng, *, thing: str, place: str, count: int | None = None) -> Picture:
    """One picture of `count` things (drawn from 1, 2, 3 when not given) in a place, with a caption."""
    count = count or rng.choices(list(_COUNTS), list(_COUNTS.values()))[0]
    canvas = draw_canvas(rng, thing=thing, place=place, count=count)
    caption = _caption(rng, thing, place=place, count=count)
    return Picture(canvas.resize((SIDE_PX,) * 2, Image.Resampling.LANCZOS), thing, place, count, caption)


def draw_canvas(rng: Rng, *, thing: str, place: str, count: int) -> Canvas:
    """The picture at twice its size."""
    canvas = PLACES[place](rng)
    for index in range(count):
        _paste(canvas, _varied(glyph(thing), rng), rng=rng, index=index, count=count)
    return canvas


def draw_any(rng: Rng, things: Mapping[str, str] = TRAINED) -> Picture:
    return draw_picture(rng, thing=rng.choice(list(things)), place=rng.choice(list(PLACES)))


def plain_caption(thing: str, place: str) -> str:
    return f"{_article(thing)} {place}"


def _varied(image: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.92, 1.06))
    return ImageEnhance.Color(image).enhance(rng.uniform(0.85, 1.1))


def _paste(canvas: Canvas, image: Image.Image, *, rng: Rng, index: int, count: int) -> None:
    """One thing rests anywhere in the lower two thirds; several stand side by side."""
    share = rng.uniform(0.6, 0.85) if count == 1 else rng.uniform(0.8, 0.95) / count
    scale = share * CANVAS_PX / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    room_x, room_y = CANVAS_PX / (count if count > 1 else 1) - image.width, CANVAS_PX - image.height
    x = index * CANVAS_PX / count * (count > 1) + rng.uniform(0, max(0.0, room_x))
    canvas.paste(image, (round(x), round(rng.uniform(0.35, 1.0) * room_y)), image)


def _caption(rng: Rng, thing: str, *, place: str, count: int) -> str:
    bare = thing if count == 1 else f"{_NUMBERS[count]} {_plural(thing)}"
    what = _article(thing) if count == 1 else bare
    return rng.choices(list(_FORMS), list(_FORMS.values()))[0].format(what=what, bare=bare, place=place)


def _article(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeio' or thing.startswith('umb') else 'a'} {thing}"


def _plural(thing: str) -> str:
    head, of, rest = thing.partition(" of ")
    irregular = {"cherry": "cherries", "strawberry": "strawberries", "octopus": "octopuses", "bus": "buses", "cactus": "cactuses"}
    return irregular.get(head, head if head.endswith("fish") else head + "s") + of + rest
