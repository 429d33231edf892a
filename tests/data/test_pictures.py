"""Ranges, profiles and remarks against pixels computed by hand; every kind of bad file. R11, R12, R13, R14."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from colour_profiles import press_profile, rgb_profile, srgb_of_linear
from PIL import Image, ImageCms, ImageFile

from aquatint.data.pictures import BadPicture, open_picture, read_picture

HEIGHT, WIDTH = 5, 7
GREY = (np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) * 7 + 3).astype(np.uint8)
RGB = np.stack([GREY, 255 - GREY, np.roll(GREY, 3)], -1)
ALPHA = np.where(np.indices((HEIGHT, WIDTH)).sum(0) % 3 == 0, 0, np.where(GREY > 128, 255, 100)).astype(np.uint8)
DEEP = (GREY.astype(np.uint16) * 256 + 17).astype(np.uint16)
MATTE = np.array([200, 30, 60], np.float64)
COLOUR = "#c81e3c"


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def over_matte(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255.0
    return np.rint(rgb * share + MATTE * (1 - share))


def palette_image() -> tuple[Image.Image, np.ndarray]:
    image = Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH), "P")
    image.putpalette(RGB.reshape(-1).tolist())
    return image, RGB


CMYK = np.concatenate([RGB, (GREY // 2)[..., None]], -1)

STRETCHED = np.rint((GREY.astype(float) - GREY.min()) * 255 / np.ptp(GREY))
DEEP_AS_RGB = grey_as_rgb(np.rint(DEEP / 257))


CASES = {
    "I to 255": (Image.fromarray(GREY.astype(np.int32)), grey_as_rgb(GREY)),
    "I to 65535": (Image.fromarray(DEEP.astype(np.int32)), DEEP_AS_RGB),
    "F to 1": (Image.fromarray((GREY / 255).astype(np.float32)), grey_as_rgb(GREY)),
    "F to 255": (Image.fromarray(GREY.astype(np.float32)), grey_as_rgb(GREY)),
    "F signed": (Image.fromarray(GREY.astype(np.float32) - 90), grey_as_rgb(STRETCHED)),
}


def write(folder: Path, image: Image.Image, *, file_format: str, **options: object) -> Path:
    path = folder / f"picture.{file_format.lower()}"
    image.save(path, file_format, **options)
    return path


@pytest.mark.parametrize("case", CASES)
def test_range_told_by_the_values(case: str, tmp_path: Path) -> None:
    image, expected = CASES[case]
    np.testing.assert_array_equal(np.asarray(open_picture(write(tmp_path, image, file_format="TIFF"))), expected)


def test_jpeg_modes_and_orientation(tmp_path: Path) -> None:
    halves = np.zeros((32, 48, 3), np.uint8)
    halves[:, :24] = (220, 40, 40)
    halves[:, 24:] = (40, 40, 220)
    exif = Image.Exif()
    exif[274] = 6
    opened = np.asarray(open_picture(write(tmp_path, Image.fromarray(halves), file_format="JPEG", exif=exif, quality=95)), int)
    assert opened.shape == (48, 32, 3)
    assert np.abs(opened[4, 16] - (220, 40, 40)).max() < 8  # turned clockwise: left becomes top
    assert np.abs(opened[44, 16] - (40, 40, 220)).max() < 8


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    paper.paste((0, 255, 255, 0), (0, 0, 8, 16))
    opened = np.asarray(open_picture(write(tmp_path, paper, file_format="JPEG", quality=95)), int)
    assert opened[8, 12].min() > 245
    assert np.abs(opened[8, 3] - (255, 0, 0)).max() < 12


def test_sixteen_bit_ramp_keeps_its_steps(tmp_path: Path) -> None:
    """Pillow's own convert("RGB") turns 99.6 % of this white."""
    ramp = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (4, 1))
    opened = np.asarray(open_picture(write(tmp_path, Image.fromarray(ramp), file_format="PNG")))
    np.testing.assert_array_equal(opened[0, :, 0], np.arange(256))


def test_twelve_bits_in_sixteen_are_remarked(tmp_path: Path) -> None:
    path = write(tmp_path, Image.fromarray((DEEP // 16).astype(np.uint16)), file_format="PNG")
    assert "16 bits" in " ".join(read_picture(path).remarks)


def test_ycbcr_tiff(tmp_path: Path) -> None:
    opened = open_picture(write(tmp_path, Image.fromarray(RGB).convert("YCbCr"), file_format="TIFF"))
    np.testing.assert_allclose(np.asarray(opened, float), RGB, atol=3)


def test_lab_tiff(tmp_path: Path) -> None:
    lab = np.zeros((4, 4, 3), np.uint8)
    lab[..., 0] = 255 * 53.24 / 100  # L*a*b* of pure sRGB red, D65 adapted to D50: (54.3, 80.8, 69.9)
    lab[..., 1:] = (80, 67)
    opened = np.asarray(open_picture(write(tmp_path, Image.fromarray(lab, "LAB"), file_format="TIFF")), int)
    assert opened[0, 0, 0] > 245
    assert opened[0, 0, 1:].max() < 40


def test_partial_transparency_of_invisible_colour(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_picture(write(tmp_path, image, file_format="PNG")).getcolors() == [(16, (255, 255, 255))]


def grey_ink_profile() -> bytes:
    """A CMYK press whose cyan prints as mid grey (L* = 50) and all else as black."""
    corners = {(0, 0, 0, 0): 255.0, (1, 0, 0, 0): 127.5}
    return press_profile({ink: corners.get(ink, 0) for ink in np.ndindex(2, 2, 2, 2)})


@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_cmyk_with_a_profile(file_format: str, tmp_path: Path) -> None:
    image = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (16, 0, 32, 16))
    opened = np.asarray(open_picture(write(tmp_path, image, file_format=file_format, icc_profile=grey_ink_profile())), int)
    assert opened[8, 4].min() >= 253
    assert np.abs(opened[8, 28] - 119).max() <= 3  # L* = 50 is 119 in sRGB; without the profile it were cyan, (0, 255, 255)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_another_profile_is_converted(with_alpha: bool, tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    if with_alpha:
        image.putalpha(Image.fromarray(ALPHA))
    opened = open_picture(write(tmp_path, image, file_format="PNG", icc_profile=rgb_profile(1)), matte=COLOUR)
    expected = np.rint(255 * srgb_of_linear(RGB / 255))
    np.testing.assert_allclose(np.asarray(opened, float), over_matte(expected, ALPHA) if with_alpha else expected, atol=2)
    assert np.abs(expected - RGB).max() > 40


def test_srgb_profile_leaves_pixels_alone(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image, expected in ((Image.fromarray(RGB), RGB), (palette_image()[0], RGB), (Image.fromarray(GREY), grey_as_rgb(GREY))):
        opened = open_picture(write(tmp_path, image, file_format="PNG", icc_profile=profile))
        np.testing.assert_array_equal(np.asarray(opened), expected)


def test_palette_and_grey_pictures_with_a_colour_profile(tmp_path: Path) -> None:
    for image, expected in ((palette_image()[0], RGB), (Image.fromarray(GREY), grey_as_rgb(GREY))):
        opened = open_picture(write(tmp_path, image, file_format="PNG", icc_profile=rgb_profile(1)))
        np.testing.assert_allclose(np.asarray(opened, float), 255 * srgb_of_linear(expected / 255), atol=2)


def test_broken_and_foreign_profiles_are_remarked(tmp_path: Path) -> None:
    path = write(tmp_path, Image.fromarray(RGB), file_format="PNG", icc_profile=b"no profile at all")
    picture = read_picture(path)
    np.testing.assert_array_equal(np.asarray(picture.image), RGB)
    assert "profile" in " ".join(picture.remarks)
    path = write(tmp_path, Image.fromarray(CMYK, "CMYK"), file_format="TIFF", icc_profile=rgb_profile(1))
    assert "another colour space" in " ".join(read_picture(path).remarks)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_animation_gives_its_first_frame_and_a_remark(file_format: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if file_format == "WEBP" else {}
    picture = read_picture(write(tmp_path, first, file_format=file_format, save_all=True, append_images=[second], **options))
    assert picture.image.getpixel((4, 4)) == (255, 0, 0)
    assert any("animated" in remark for remark in picture.remarks)


def test_not_a_number_is_bad(tmp_path: Path) -> None:
    values = GREY.astype(np.float32)
    values[1, 1] = np.nan
    with pytest.raises(BadPicture, match="not finite"):
        open_picture(write(tmp_path, Image.fromarray(values), file_format="TIFF"))


def noise(file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("is_tolerated_elsewhere", [False, True])
def test_cut_files_are_bad(
    file_format: str, share: float, is_tolerated_elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", is_tolerated_elsewhere)
    content = noise(file_format)
    path = tmp_path / f"cut.{file_format.lower()}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadPicture):
        open_picture(path)


def test_pillows_verify_would_pass_the_cut_jpeg(tmp_path: Path) -> None:
    content = noise("JPEG")
    Image.open(io.BytesIO(content[: len(content) // 2])).verify()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "is empty"),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        ("page.png", b"\xef\xbb\xbf\n <html>", "web page"),
        ("drawing.png", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        ("zeros.jpg", bytes(500), "not a picture"),
        ("paper.png", b"%PDF-1.7\n", "PDF"),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        ("really.png", noise("JPEG"), "is JPEG by content but .png by name"),
        ("really.jpg", noise("PNG"), "is PNG by content but .jpg by name"),
    ],
)
def test_what_is_no_picture_is_named(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadPicture, match=reason.replace(".", r"\.")) as caught:
        open_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("side", [15_000, 60_000])
def test_a_bomb_is_never_decoded(side: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    with pytest.raises(BadPicture, match="pixels"):
        open_picture(path)


def test_suffix_case_and_long_foreign_names(tmp_path: Path) -> None:
    for name in ("A.PNG", "été кошка 猫.png", "x" * 200 + ".Png"):
        Image.fromarray(RGB).save(tmp_path / name, "PNG")
        np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / name)), RGB)


def test_damaged_exif_is_remarked_or_harmless(tmp_path: Path) -> None:
    path = write(tmp_path, Image.fromarray(RGB), file_format="PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12")
    np.testing.assert_array_equal(np.asarray(read_picture(path).image), RGB)
