"""Every mode in every container that can hold it, in all eight orientations, against pixels computed by hand. R11, R12.

The numbers that are written are random; what must be seen is computed from them here, by formulas in numpy. Containers that keep
every number hold a picture of 13 x 20 single pixels. Lossy ones hold flat blocks of 16 x 16 pixels, whose centres are compared.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_profiles import black_only_profile, grey_profile, linear_of_lightness, rgb_profile, srgb_of_linear
from PIL import Image

from aquatint.data.pictures import open_picture

MATTE, COLOUR = np.array([200, 30, 60], np.float64), "#c81e3c"
GAMMA = 1.80078125  # as an ICC profile writes 1.8: in steps of 1/256
BLOCK_PX = 16
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
CLEAR = np.random.default_rng(2).integers(0, 256, 256, np.uint8)
"""Opacity of each colour of the palette."""
TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""Linear sRGB -> XYZ at D50 (ICC's own table)."""
D50 = np.array([0.9642, 1.0, 0.8249])


@dataclass(frozen=True)
class Case:
    image: Image.Image
    shown: np.ndarray
    """(height, width, 3), 0 to 255, not rounded."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of `save`; a file holds the case only if it still has these, too (GIF numbers its colours anew)."""


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, np.float64)[..., None], 3, -1)


def over_matte(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255.0
    return rgb * share + MATTE * (1 - share)


def of_cmyk(cmyk: np.ndarray) -> np.ndarray:
    ink = cmyk / 255.0
    return 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])


def of_ycbcr(ycc: np.ndarray) -> np.ndarray:
    """JFIF 1.02."""
    luma, blue, red = (ycc[..., index].astype(np.float64) for index in range(3))
    blue, red = blue - 128, red - 128
    return np.clip(np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1), 0, 255)


def of_lab(lab: np.ndarray) -> np.ndarray:
    """CIE 1976 at D50 -> sRGB. Bytes as TIFF has them: lightness over 255, a and b with a sign."""
    lightness, a, b = lab[..., 0] / 2.55, lab[..., 1].astype(np.int8).astype(float), lab[..., 2].astype(np.int8).astype(float)
    middle = (lightness + 16) / 116
    bent = np.stack([middle + a / 500, middle, middle - b / 200], -1)
    xyz = D50 * np.where(bent > 6 / 29, bent**3, 3 * (6 / 29) ** 2 * (bent - 4 / 29))
    return 255 * srgb_of_linear(np.clip(xyz @ np.linalg.inv(TO_XYZ).T, 0, 1))


def clear_at(*index: np.ndarray | int) -> np.ndarray:
    return np.where(np.equal(*index), 0, 255)


def palette_image(indices: np.ndarray, opacity: np.ndarray | None = None) -> Image.Image:
    mode, numbers = ("P", indices) if opacity is None else ("PA", np.stack([indices, opacity], -1))
    image = Image.frombytes(mode, indices.shape[::-1], np.ascontiguousarray(numbers).tobytes())
    image.putpalette(PALETTE.tobytes())
    return image


def converted(numbers: np.ndarray, mode: str) -> Image.Image:
    """In a mode that no container holds."""
    through = {"La": ("LA", 2), "RGBa": ("RGBA", 4), "RGBX": ("RGBX", 4), "HSV": ("HSV", 3)}[mode]
    return Image.fromarray(np.ascontiguousarray(numbers[..., : through[1]]), through[0]).convert(mode)


@cache
def cases(is_lossy: bool) -> dict[str, Case]:
    """Mode, and what lies beside it -> a picture of it."""
    n = np.random.default_rng(0).integers(0, 256, (3, 4, 4) if is_lossy else (13, 20, 4), np.uint8)
    n = n.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1) if is_lossy else n
    one, rgb, alpha = n[..., 0], np.ascontiguousarray(n[..., :3]), n[..., 3]
    deep = one.astype(np.uint16) * 256 + n[..., 1]
    lab = np.stack([40 + one // 2, (n[..., 1] // 6 - 21).astype(np.uint8), (n[..., 2] // 6 - 21).astype(np.uint8)], -1)
    first, colour, deepest = int(one[0, 0]), tuple(int(value) for value in rgb[0, 0]), int(deep[0, 0])
    swapped = {"icc_profile": rgb_profile(GAMMA, "grb")}
    bent = 255 * srgb_of_linear((rgb[..., [1, 0, 2]] / 255) ** GAMMA)
    return {
        "1": Case(Image.fromarray(one > 127), grey(np.where(one > 127, 255, 0))),
        "1 clear": Case(Image.fromarray(one > 127), over_matte(grey(one * 0), clear_at(one > 127, True)), {"transparency": 255}),
        "L": Case(Image.fromarray(one), grey(one)),
        "L clear": Case(Image.fromarray(one), over_matte(grey(one), clear_at(one, first)), {"transparency": first}),
        "L profile": Case(Image.fromarray(one), grey(255 * srgb_of_linear((one / 255) ** GAMMA)), {"icc_profile": grey_profile(GAMMA)}),
        "LA": Case(Image.fromarray(n[..., 2:].copy(), "LA"), over_matte(grey(n[..., 2]), alpha)),
        "La": Case(converted(n, "La"), grey(one)),
        "P": Case(palette_image(one), PALETTE[one].astype(float)),
        "P one clear": Case(palette_image(one), over_matte(PALETTE[one], clear_at(one, first)), {"transparency": first}),
        "P many clear": Case(palette_image(one), over_matte(PALETTE[one], CLEAR[one]), {"transparency": CLEAR.tobytes()}),
        "P profile": Case(palette_image(one), 255 * srgb_of_linear((PALETTE[one][..., [1, 0, 2]] / 255) ** GAMMA), swapped),
        "PA": Case(palette_image(one, alpha), over_matte(PALETTE[one], alpha)),
        "RGB": Case(Image.fromarray(rgb), rgb.astype(float)),
        "RGB clear": Case(Image.fromarray(rgb), over_matte(rgb, clear_at(rgb @ [65536, 256, 1], colour @ np.array([65536, 256, 1]))),
                          {"transparency": colour}),
        "RGB profile": Case(Image.fromarray(rgb), bent, swapped),
        "RGBA": Case(Image.fromarray(n), over_matte(rgb, alpha)),
        "RGBA profile": Case(Image.fromarray(n), over_matte(bent, alpha), swapped),
        "RGBa": Case(converted(n, "RGBa"), rgb),
        "RGBX": Case(converted(n, "RGBX"), rgb),
        "CMYK": Case(Image.fromarray(n, "CMYK"), of_cmyk(n)),
        "CMYK profile": Case(Image.fromarray(n, "CMYK"), grey(255 * srgb_of_linear(linear_of_lightness(100 * (1 - alpha / 255)))),
                             {"icc_profile": black_only_profile()}),
        "YCbCr": Case(Image.fromarray(rgb, "YCbCr"), of_ycbcr(rgb)),
        "LAB": Case(Image.fromarray(lab, "LAB"), of_lab(lab)),
        "HSV": Case(converted(n, "HSV"), rgb),
        "I;16": Case(Image.fromarray(deep), grey(deep / 257)),
        "I;16 clear": Case(Image.fromarray(deep), over_matte(grey(deep / 257), clear_at(deep, deepest)), {"transparency": deepest}),
        "I;16B": Case(Image.fromarray(deep.astype(">u2")), grey(deep / 257)),
        "I": Case(Image.fromarray(deep.astype(np.int32)), grey(deep / 257)),
        "F": Case(Image.fromarray(deep.astype(np.float32) / 65535), grey(deep / 257)),
    }  # fmt: skip


@dataclass(frozen=True)
class Container:
    file_format: str
    suffix: str
    held: str
    """Cases that a file of this kind can hold, with commas between."""
    options: dict[str, Any] = field(default_factory=dict)
    has_orientation: bool = True
    tolerance: float = 1
    is_lossy: bool = False


DEEP = "I;16, I, F"
TIFF = f"1, L, L profile, LA, P, P profile, PA, RGB, RGB profile, RGBA, RGBA profile, CMYK, CMYK profile, LAB, {DEEP}"
JPEG = "L, L profile, RGB, RGB profile, CMYK, CMYK profile"
FINE: dict[str, Any] = {"quality": 100, "subsampling": 0}
CONTAINERS = {
    "PNG": Container("PNG", "png", "1, 1 clear, L, L clear, L profile, LA, P, P one clear, P many clear, P profile, RGB, RGB clear, "
                     "RGB profile, RGBA, RGBA profile, I;16, I;16 clear"),
    "WEBP": Container("WEBP", "webp", "RGB, RGB profile, RGBA, RGBA profile", {"lossless": True, "exact": True}),
    "WEBP lossy": Container("WEBP", "webp", "RGB, RGB profile, RGBA, RGBA profile", {"quality": 100}, tolerance=3, is_lossy=True),
    "AVIF": Container("AVIF", "avif", "RGB, RGB profile, RGBA, RGBA profile",
                      {"quality": 100, "subsampling": "4:4:4"}, tolerance=3, is_lossy=True),
    "JPEG": Container("JPEG", "jpg", JPEG, FINE, tolerance=3, is_lossy=True),
    "JPEG progressive": Container("JPEG", "jpeg", JPEG, {**FINE, "progressive": True}, tolerance=3, is_lossy=True),
    "JPEG2000": Container("JPEG2000", "jp2", "L, LA, RGB, RGBA, CMYK, I;16", has_orientation=False),
    "JPEG2000 codestream": Container("JPEG2000", "j2k", "L, LA, RGB, RGBA, I;16", {"no_jp2": True}, has_orientation=False),
    "GIF": Container("GIF", "gif", "P, P one clear", has_orientation=False),
    "BMP": Container("BMP", "bmp", "1, L, P, RGB", has_orientation=False),
    "PPM": Container("PPM", "ppm", "1, L, RGB, I, F", has_orientation=False),
    "TIFF": Container("TIFF", "tif", f"{TIFF}, YCbCr, I;16B"),
    **{f"TIFF {name}": Container("TIFF", "tiff", TIFF, {"compression": name})
       for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd")},
    **{f"TIFF {name}": Container("TIFF", "tiff", "1", {"compression": name}) for name in ("group3", "group4")},
    "TIFF jpeg": Container("TIFF", "tiff", "L, L profile, LA, RGB, RGB profile, RGBA, RGBA profile, CMYK, CMYK profile, LAB",
                           {"compression": "jpeg", "quality": 100}, tolerance=3, is_lossy=True),
}  # fmt: skip
HELD = [(name, case) for name, container in CONTAINERS.items() for case in container.held.split(", ")]
ORIENTED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: np.flip(a, 1),
    3: lambda a: np.rot90(a, 2),
    4: lambda a: np.flip(a, 0),
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""What a viewer shows of the stored rows and columns (EXIF 2.3, tag 274)."""


def written(container: Container, case: Case, *, orientation: int = 1) -> bytes | None:
    """The file, or None if Pillow cannot put this case into this container: it refuses, or writes something else."""
    exif = Image.Exif()
    exif[274] = orientation
    told = {"exif": exif} if container.has_orientation else {}
    buffer = io.BytesIO()
    try:
        case.image.save(buffer, container.file_format, **told, **container.options, **case.options)
    except (OSError, ValueError, SystemError, TypeError, KeyError):
        return None
    try:
        again = Image.open(io.BytesIO(buffer.getvalue()))
        again.load()
    except OSError:
        return None
    is_same = again.mode == case.image.mode and all(type(again.info.get(key)) is type(value) for key, value in case.options.items())
    return buffer.getvalue() if is_same else None


def compared(found: np.ndarray, expected: np.ndarray, *, is_lossy: bool) -> float:
    """The largest difference; of lossy pictures at the centres of their blocks."""
    assert found.shape == expected.shape
    centres = slice(BLOCK_PX // 2, None, BLOCK_PX) if is_lossy else slice(None)
    return float(np.abs(found[centres, centres] - np.rint(expected[centres, centres])).max())


def test_how_much_there_is() -> None:
    assert len(cases(False)) == 29
    assert len(CONTAINERS) == 20
    assert len(HELD) == len(set(HELD)) == 179
    assert sum(len(ORIENTED) if CONTAINERS[name].has_orientation else 1 for name, _ in HELD) == 1278


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_other_mode_fits_into_a_container(name: str) -> None:
    container = CONTAINERS[name]
    fits = {case for case, made in cases(container.is_lossy).items() if written(container, made)}
    assert fits == set(container.held.split(", "))


@pytest.mark.parametrize("name", CONTAINERS)
def test_only_some_containers_know_what_is_up(name: str, tmp_path: Path) -> None:
    container, (exif, path) = CONTAINERS[name], (Image.Exif(), tmp_path / "turned")
    exif[274] = 6
    case = cases(container.is_lossy)[container.held.split(", ")[0]]
    case.image.save(path, container.file_format, exif=exif, **container.options)
    with Image.open(path) as image:
        assert image.getexif().get(274, 1) == (6 if container.has_orientation else 1)


@pytest.mark.parametrize(("name", "mode"), HELD)
def test_pixels(name: str, mode: str, tmp_path: Path) -> None:
    container = CONTAINERS[name]
    case, path = cases(container.is_lossy)[mode], tmp_path / f"picture.{container.suffix}"
    for orientation in ORIENTED if container.has_orientation else (1,):
        content = written(container, case, orientation=orientation)
        assert content
        path.write_bytes(content)
        found = np.asarray(open_picture(path, matte=COLOUR))
        difference = compared(found, ORIENTED[orientation](case.shown), is_lossy=container.is_lossy)
        assert difference <= container.tolerance + 1e-9, f"orientation {orientation}: off by {difference:.1f}"
