"""Every pixel mode to 8-bit sRGB, with what had to be assumed."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile

SRGB = ImageCms.createProfile("sRGB")
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC
"""Tables of the usual size are off by 2 of 255 for inks."""
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Colour space of an ICC profile -> Pillow's mode."""
DARK_SHARE = 1 / 8
"""16-bit pictures whose brightest value is below this share of the range were most likely stored with fewer bits."""
THROUGH = {"P": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
"""Modes that Pillow brings to grey or colour well only by way of another."""
KINDS = {"I": "32-bit integers", "F": "32-bit floats"}
Values = np.ndarray[Any, np.dtype[Any]]


WHITE_IS_ZERO, NUM_BITS, NUMBER_KIND = 262, 258, 339
"""Numbers of TIFF's tags."""
CLEAR_SCALES = {"L;2": 85, "L;4": 17}
"""PNG's way to store grey -> what it is multiplied by; Pillow leaves the colour that is transparent as it is stored."""
STRIP_ROWS = 256
"""Rows that are turned into 8 bits at a time: in between they take eight times as much memory."""


def note_numbers(image: ImageFile.ImageFile) -> None:
    """Before a picture is loaded: writes into its `info`, which copies keep, what its numbers mean where the mode does not say.

    That is which colour is transparent, as it will be after loading; and of TIFF `white`, `is_negative`, `is_unsigned`.
    """
    clear = image.info.get("transparency")
    if image.format == "PNG" and clear is not None and image.tile:
        stored = image.tile[0][3]
        if stored in CLEAR_SCALES:
            image.info["transparency"] = clear * CLEAR_SCALES[stored]
        elif stored == "RGB;16B":
            image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.format == "TIFF" and image.mode.startswith(("I", "F")):
        tags: Any = getattr(image, "tag_v2", {})
        image.info["is_negative"] = tags.get(WHITE_IS_ZERO) == 0
        image.info["is_unsigned"] = image.mode == "I" and tags.get(NUMBER_KIND, (1,)) == (1,)
        if tags.get(NUM_BITS) == (12,):
            image.info["white"] = 4095


def as_rgb(image: Image.Image, *, matte: str = "white", file_format: str | None = None) -> tuple[Image.Image, list[str]]:
    """A loaded image of any mode -> RGB over `matte`, and remarks. Raises ValueError for values that are not colours."""
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _from_lab(image), []
    alpha = alpha_of(image)
    image, remarks = _eight_bits(image, file_format)
    image, remark = _in_srgb(image, profile)
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, matte), alpha)
    return image, [*remarks, *remark]


def alpha_of(image: Image.Image) -> Image.Image | None:
    """Opacity as an L image, or None for a picture that is opaque everywhere."""
    if not image.has_transparency_data:
        return None
    if image.mode == "I;16":
        return Image.fromarray(np.where(np.asarray(image) == image.info["transparency"], 0, 255).astype(np.uint8))
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else alpha


def _eight_bits(image: Image.Image, file_format: str | None) -> tuple[Image.Image, list[str]]:
    """Any mode to L, RGB or CMYK, whatever its transparency."""
    if image.mode in ("L", "RGB", "CMYK"):
        return image, []
    if not image.mode.startswith(("I", "F")):
        through = THROUGH.get(image.mode, image.mode)
        return image.convert(through).convert("L" if image.mode in ("1", "LA", "La") else "RGB"), []
    values = np.asarray(image)
    values = values.astype(np.uint32) if image.info.get("is_unsigned") else values
    if not np.isfinite(values.min()) or not np.isfinite(values.max()):
        raise ValueError("holds values that are not finite (NaN or infinity)")
    black, white, remarks = _range(image, values, file_format=file_format)
    if image.info.get("is_negative"):
        black, white = white, black
    scale, grey = 255.0 / ((white - black) or 1e-30), np.empty(values.shape, np.uint8)
    for top in range(0, len(values), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        grey[rows] = np.clip(np.rint((values[rows].astype(np.float64) - black) * scale), 0, 255)
    return Image.fromarray(grey), remarks


def _range(image: Image.Image, values: Values, *, file_format: str | None) -> tuple[float, float, list[str]]:
    """The values that mean black and white. Only 16 bits have a range by definition; the others are told by their values."""
    low, high, mode = float(values.min()), float(values.max()), image.mode
    if mode.startswith("I;16") or (mode == "I" and file_format in ("PNG", "PPM")):
        white = float(image.info.get("white", 65535))
        dark = [f"uses 16 bits but its brightest value is {high:.0f} of {white:.0f}: it will look black; scale it up"]
        return 0.0, white, dark if high < white * DARK_SHARE and not image.info.get("is_negative") else []
    ends = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
    if image.info.get("is_unsigned"):
        ends = (*ends, float(2**32 - 1))
    for end in ends:
        if low >= 0 and high <= end:
            return 0.0, end, [f"holds {KINDS[mode]}: read as 0 (black) to {end:.0f} (white)"]
    return low, high, [f"holds values from {low:.4g} to {high:.4g}: stretched from black to white"]


def _in_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """L, RGB or CMYK -> RGB by its profile."""
    if not profile:
        return image.convert("RGB"), []
    try:
        mode, transform = _transform(profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), ["has a colour profile that cannot be read: taken as sRGB"]
    if mode is None or (mode != image.mode and "CMYK" in (mode, image.mode)):
        return image.convert("RGB"), ["has a colour profile of another colour space: ignored"]
    if transform is None:
        return image.convert("RGB"), []
    if mode == "L" and image.mode == "RGB":
        return image, ["has a grey profile on a colour picture: ignored"]
    return transform.apply(image.convert(mode)), []


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str | None, ImageCms.ImageCmsTransform | None]:
    """The mode that a profile is for, and the way to sRGB: None where that changes nothing to speak of."""
    read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = SPACES.get(read.profile.xcolor_space)
    if mode is None:
        return None, None
    transform = ImageCms.buildTransform(read, SRGB, mode, "RGB", INTENT, FLAGS)
    if mode == "CMYK":
        return mode, transform
    probe = _probe().convert(mode)
    change = np.asarray(transform.apply(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return mode, transform if np.abs(change).max() > 2 else None  # the many makes of sRGB differ by rounding


def _probe() -> Image.Image:
    """A lattice of colours, corner to corner of the cube."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3))


def _from_lab(image: Image.Image) -> Image.Image:
    """By formula, without a table: at the edge of what sRGB holds that is off by 28 of 255."""
    lab = ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(lab, SRGB, "LAB", "RGB", INTENT, ImageCms.Flags.NOOPTIMIZE).apply(image)
