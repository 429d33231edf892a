"""The one way a picture file becomes pixels: scan, inspect, caches and training all come through here."""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PIL import Image, ImageFile, UnidentifiedImageError

from aquatint.data import scans
from aquatint.data.colours import alpha_of, as_rgb, note_numbers
from aquatint.data.places import File, Place, Slice
from aquatint.errors import AquatintError

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
}
"""Formats that are opened, with the names they go by. No others: some of Pillow's decoders start programs (EPS)."""
OPENERS = [name for name in FORMATS if name != "MPO"]
"""MPO is a JPEG with more pictures behind; Pillow finds that out by itself."""
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_PIXELS = 178_956_970
"""A header that announces more is never decoded (16 bytes a pixel in the worst mode: 2.7 GiB)."""
EXPANSIONS = ((1 << 24, 250), (1 << 22, 4000))
"""Pixels, and how many times its own size a file of more of them may be when decoded: photographs 10 to 100 times, one colour 1000."""
MAX_PASSES = 100
"""In which a JPEG builds up its picture: cameras and browsers use 1 to 12, and each goes over all of it."""
LARGE_PIXELS, ONE_LARGE = 1 << 25, Lock()
"""Of pictures beyond one is decoded at a time: on many processors together they would fill the memory."""
BITS_OF_A_PIXEL = {"1": 1, "I;16": 16, "I;16B": 16, "I": 32, "F": 32}
"""Where they are not 8 times the number of bands."""
MOVING = ("GIF", "PNG", "WEBP", "AVIF")

ORIENTATION = 0x0112
"""EXIF's number for it; from 5 on it exchanges width and height."""
TURNS = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
), 2))  # fmt: skip
"""Orientation -> what makes it upright."""

_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the picture", "run `git lfs pull`"),
    (b"%PDF", "a PDF", "export its pages as PNG"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"8BPS", "a Photoshop file", "export it as PNG"),
)

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is checked below, and an error


class BadPicture(AquatintError):
    """A file that cannot be a training picture; `reason` says why, `advice` what would help."""

    def __init__(self, place: Place, reason: str, advice: str = ""):
        self.place, self.reason, self.advice = place, reason, advice
        super().__init__(f"{place} {reason}" + (f": {advice}" if advice else ""))


@dataclass(frozen=True)
class Picture:
    image: Image.Image
    """RGB, 8 bits, upright, in sRGB, without transparency."""
    mode: str
    """Pillow's name of what the file holds."""
    remarks: tuple[str, ...]
    """What a reader of the file should know: animation, a lost profile, how unusual values were scaled."""
    size: tuple[int, int]
    """Width and height in pixels of the upright picture; of `image` too, unless less was asked for."""


def open_picture(place: Place | Path, *, matte: str = "white") -> Image.Image:
    """RGB, 8 bits, upright, in sRGB; transparency lies over `matte`. Raises BadPicture."""
    return read_picture(place, matte=matte).image


def read_picture(place: Place | Path, *, matte: str = "white", content: bytes | None = None, enough_px: int | None = None) -> Picture:
    """The whole file decoded; `content` is its bytes, if they are at hand. Raises BadPicture, and OSError where it cannot be read.

    With `enough_px` a JPEG may come in fewer pixels, but with a shorter side of at least that: its decoder then does less for each
    and still reads all of the file.
    """
    place = File(place) if isinstance(place, Path) else place
    content = place.read() if content is None else content
    if isinstance(place, Slice):
        return _sliced(place, content)
    image = _opened(place, content)
    try:
        remarks = _remarks(image)
    except Exception:  # what is behind the first picture may be damaged in any way
        image, remarks = _opened(place, content), ["has further pictures that cannot be read: the first is used"]
    note_numbers(image)
    with ONE_LARGE if image.width * image.height > LARGE_PIXELS else nullcontext():
        return _decoded(place, image, matte=matte, enough_px=enough_px, remarks=remarks)


def _decoded(place: Place, image: ImageFile.ImageFile, *, matte: str, enough_px: int | None, remarks: list[str]) -> Picture:
    mode, file_format, whole = image.mode, image.format, image.size
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it, and would hide half a picture
    if enough_px and min(whole) > enough_px:
        image.draft(image.mode, tuple(side * enough_px // min(whole) for side in whole))  # type: ignore[arg-type]
    try:
        image.load()
    except Exception as error:  # decoders raise OSError, EOFError, SyntaxError, ValueError, struct.error …
        raise BadPicture(place, f"is cut off or damaged ({error})", "replace it with a whole copy") from error
    try:
        upright, is_turned = _upright(image, remarks)
        pixels, more = as_rgb(upright, matte=matte, file_format=file_format)
    except Exception as error:
        raise BadPicture(place, str(error) if isinstance(error, ValueError) else f"cannot be brought to colours ({error!r})") from error
    return Picture(pixels, mode, (*remarks, *more), whole[::-1] if is_turned else whole)


def read_opacity(place: Place, *, content: bytes | None = None) -> Image.Image:
    """How opaque each pixel is, mode L, upright; white for a picture without transparency. `content` is its bytes. Raises BadPicture."""
    image = _opened(place, place.read() if content is None else content)
    note_numbers(image)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
        upright, _ = _upright(image, [])
        alpha = alpha_of(upright)
    except Exception as error:
        raise BadPicture(place, f"is cut off or damaged ({error})", "replace it with a whole copy") from error
    return Image.new("L", upright.size, 255) if alpha is None else alpha


def _sliced(place: Slice, content: bytes) -> Picture:
    try:
        scan = scans.decode(content, place.suffix, frame=place.number, axis=place.axis, window=place.window)
    except scans.UnreadableScan as unreadable:
        raise BadPicture(place, unreadable.reason, unreadable.advice) from unreadable
    return Picture(scan.image, scan.mode, scan.remarks, scan.image.size)


def _opened(place: Place, content: bytes) -> ImageFile.ImageFile:
    if not content:
        raise BadPicture(place, "is empty", "replace it with a whole copy")
    try:
        image = Image.open(io.BytesIO(content), formats=OPENERS)
    except Image.DecompressionBombError:
        raise BadPicture(place, f"has more than {MAX_PIXELS:,} pixels", "make it smaller, or remove it") from None
    except UnidentifiedImageError:
        raise BadPicture(place, *_identity(content)) from None
    except Exception as error:
        raise BadPicture(place, f"has a damaged header ({error})", "replace it with a whole copy") from error
    _check_size(place, image, num_bytes=len(content))
    if image.format in ("JPEG", "MPO") and content.count(b"\xff\xda") > MAX_PASSES:
        raise BadPicture(place, f"is a JPEG in more than {MAX_PASSES} passes", "save it anew")
    suffixes = FORMATS[str(image.format)]
    if place.suffix and place.suffix not in suffixes:
        raise BadPicture(place, f"is {image.format} by content but {place.suffix} by name", f"rename it to {suffixes[0]}")
    return image


def _check_size(place: Place, image: Image.Image, *, num_bytes: int) -> None:
    """What is announced must be neither too much nor more than so few bytes can hold."""
    num_pixels, what = image.width * image.height, f"is {image.width} x {image.height}"
    if num_pixels > MAX_PIXELS:
        raise BadPicture(place, f"{what}, more than {MAX_PIXELS:,} pixels", "make it smaller, or remove it")
    num_decoded = num_pixels * BITS_OF_A_PIXEL.get(image.mode, 8 * len(image.getbands())) // 8
    if any(num_pixels > pixels and num_decoded > times * num_bytes for pixels, times in EXPANSIONS):
        raise BadPicture(place, f"{what} in {num_bytes:,} bytes: it is damaged, a trap, or of one colour", "make it smaller, or remove it")


def _identity(content: bytes) -> tuple[str, str]:
    """What a file is that is no picture, and what to do."""
    head = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what, advice in _OTHERS:
        if head.startswith(magic):
            return f"is {what}", advice
    if content[4:8] == b"ftyp":
        return "is a HEIC picture or a video", "export it as JPEG or PNG"
    if b"<svg" in head.lower():
        return "is an SVG drawing", "export it as PNG"
    if head.startswith(b"<"):
        return "is a web page (HTML or XML), not a picture", "the download failed: fetch it again"
    return "is not a picture in any format read here, or its header is damaged", f"known: {', '.join(OPENERS)}"


def _remarks(image: ImageFile.ImageFile) -> list[str]:
    num_frames = getattr(image, "n_frames", 1)
    if num_frames < 2 or image.format == "MPO":
        return []
    return [f"{'is animated' if image.format in MOVING else 'has several pages'} ({num_frames}): the first is used"]


def _upright(image: Image.Image, remarks: list[str]) -> tuple[Image.Image, bool]:
    """The picture as it was seen, and whether width and height were exchanged for that."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # struct.error, SyntaxError and others, by the damage
        remarks.append("has EXIF data that cannot be read: it is taken as upright")
        return image, False
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image, orientation in (5, 6, 7, 8)
