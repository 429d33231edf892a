"""Files that Pillow reads but does not write, assembled here: other depths, byte orders and meanings of the same modes. R11."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from test_every_mode import COLOUR, grey, of_cmyk, over_matte

from aquatint.data.pictures import read_picture

HEIGHT, WIDTH = 6, 8
RNG = np.random.default_rng(3)
ENDS = {"II": "<", "MM": ">"}
File = tuple[str, bytes, np.ndarray]
"""Suffix, content, and what must be seen: (height, width, 3), 0 to 255."""


def numbers(most: int, bands: int = 1) -> np.ndarray:
    """Random from 0 to `most`; the first pixel comes twice."""
    made = RNG.integers(0, most + 1, (HEIGHT, WIDTH, bands))
    made[2, 3] = made[0, 0]
    return made


def packed(values: np.ndarray, bits: int) -> list[bytes]:
    """Rows of `bits` bits a number, the high one first, filled up to whole bytes."""
    rows = values.reshape(HEIGHT, -1)
    return [np.packbits((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).tobytes() for row in rows]


def png(values: np.ndarray, bits: int, *, kind: int, before: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0))
    told = chunk(before[:4], before[4:]) if before else b""
    rows = zlib.compress(b"".join(b"\0" + row for row in packed(values, bits)))
    return b"\x89PNG\r\n\x1a\n" + header + told + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(order: str, data: bytes, **tags: list[int]) -> bytes:
    """One strip; tags by their names below, numbers as SHORT."""
    known = {"bits": 258, "meaning": 262, "samples": 277, "colours": 320, "extra": 338, "kind": 339}
    entries = {256: [WIDTH], 257: [HEIGHT], 259: [1], 278: [HEIGHT], 279: [len(data)], 273: [0]}
    entries |= {known[name]: values for name, values in tags.items()}
    end, start = ENDS[order], 8 + 2 + 12 * len(entries) + 4
    later = b"".join(struct.pack(f"{end}{len(values)}H", *values) for values in entries.values() if len(values) > 2)
    directory, place = b"", start
    for tag, values in sorted({**entries, 273: [start + len(later)]}.items()):
        held = struct.pack(f"{end}{len(values)}H", *values) if len(values) <= 2 else struct.pack(f"{end}I", place)
        directory += struct.pack(f"{end}HHI", tag, 3, len(values)) + held.ljust(4, b"\0")
        place += 2 * len(values) if len(values) > 2 else 0
    ordered = b"".join(struct.pack(f"{end}{len(v)}H", *v) for _, v in sorted(entries.items()) if len(v) > 2)
    assert len(ordered) == len(later)
    return order.encode() + struct.pack(f"{end}HI", 42, 8) + struct.pack(f"{end}H", len(entries)) + directory + bytes(4) + ordered + data


def pngs() -> dict[str, File]:
    made: dict[str, File] = {}
    for bits in (1, 2, 4, 8, 16):
        most, values = 2**bits - 1, numbers(2**bits - 1)
        shown, clear = grey(values[..., 0] * 255 / most), np.where(values[..., 0] == values[0, 0, 0], 0, 255)
        made[f"grey {bits}"] = ".png", png(values, bits, kind=0), shown
        named = b"tRNS" + struct.pack(">H", int(values[0, 0, 0]))
        made[f"grey {bits} clear"] = ".png", png(values, bits, kind=0, before=named), over_matte(shown, clear)
    for bits in (8, 16):
        most, four = 2**bits - 1, numbers(2**bits - 1, 4)
        colour, alpha = four[..., :3], four[..., 3] * 255 / most
        clear = np.where((colour == colour[0, 0]).all(-1), 0, 255)
        named = b"tRNS" + struct.pack(">HHH", *colour[0, 0].tolist())
        made[f"colour {bits}"] = ".png", png(colour, bits, kind=2), colour * 255 / most
        made[f"colour {bits} clear"] = ".png", png(colour, bits, kind=2, before=named), over_matte(colour * 255 / most, clear)
        made[f"grey {bits} alpha"] = ".png", png(four[..., 2:], bits, kind=4), over_matte(grey(four[..., 2] * 255 / most), alpha)
        made[f"colour {bits} alpha"] = ".png", png(four, bits, kind=6), over_matte(colour * 255 / most, alpha)
    for bits in (1, 2, 4, 8):
        palette, values = RNG.integers(0, 256, (2**bits, 3), np.uint8), numbers(2**bits - 1)
        content = png(values, bits, kind=3, before=b"PLTE" + palette.tobytes())
        made[f"palette {bits}"] = ".png", content, palette[values[..., 0]].astype(float)
    return made


def tiffs(order: str) -> dict[str, File]:
    end, made = ENDS[order], dict[str, tuple[bytes, np.ndarray]]()
    for meaning, name in enumerate(("white is zero", "black is zero")):
        deep, few, values = numbers(65535), numbers(4095), numbers(255)
        shown = {8: values / 255, 16: deep / 65535, 12: few / 4095}
        seen = {bits: grey(255 * (share if meaning else 1 - share)[..., 0]) for bits, share in shown.items()}
        told = {"meaning": [meaning]}
        made[f"8 {name}"] = tiff(order, values.astype("u1").tobytes(), bits=[8], **told), seen[8]
        for bits, at in ((1, values % 2), (4, values % 16)):
            share = at / (2**bits - 1)
            made[f"{bits} {name}"] = tiff(order, b"".join(packed(at, bits)), bits=[bits], **told), grey(
                255 * (share if meaning else 1 - share)[..., 0])  # fmt: skip
        if order == "II" or meaning:
            made[f"16 {name}"] = tiff(order, deep.astype(f"{end}u2").tobytes(), bits=[16], **told), seen[16]
        floats = (deep / 65535).astype(f"{end}f4").tobytes()
        made[f"float {name}"] = tiff(order, floats, bits=[32], kind=[3], **told), seen[16]
    signed = deep - 32768
    made["signed 16"] = tiff(order, signed.astype(f"{end}i2").tobytes(), bits=[16], kind=[2], meaning=[1]), grey(
        (255 * (signed - signed.min()) / np.ptp(signed))[..., 0])  # fmt: skip
    if order == "II":  # of the others Pillow knows only one byte order
        made["12 black is zero"] = tiff(order, b"".join(packed(few, 12)), bits=[12], meaning=[1]), seen[12]
        made["unsigned 32"] = tiff(order, (deep * 65537).astype("<u4").tobytes(), bits=[32], meaning=[1]), seen[16]
    return {f"{order} {name}": (".tif", *file) for name, file in {**made, **colours(order)}.items()}


def colours(order: str) -> dict[str, tuple[bytes, np.ndarray]]:
    end, four, deep, palette = ENDS[order], numbers(255, 4), numbers(65535, 4), RNG.integers(0, 65536, (3, 256))
    alpha, rgb = four[..., 3], {"meaning": [2]}
    multiplied = np.concatenate([np.rint(four[..., :3] * alpha[..., None] / 255), alpha[..., None]], -1).astype("u1")
    matte = over_matte(np.zeros((HEIGHT, WIDTH, 3)), alpha)
    return {
        "colour 16": (tiff(order, deep[..., :3].astype(f"{end}u2").tobytes(), bits=[16] * 3, samples=[3], **rgb), deep[..., :3] / 257),
        "alpha 16": (tiff(order, deep.astype(f"{end}u2").tobytes(), bits=[16] * 4, samples=[4], extra=[2], **rgb),
                     over_matte(deep[..., :3] / 257, deep[..., 3] / 257)),
        "alpha multiplied": (tiff(order, multiplied.tobytes(), bits=[8] * 4, samples=[4], extra=[1], **rgb), multiplied[..., :3] + matte),
        "no alpha": (tiff(order, four.astype("u1").tobytes(), bits=[8] * 4, samples=[4], extra=[0], **rgb), four[..., :3].astype(float)),
        "palette 16": (tiff(order, four[..., 0].astype("u1").tobytes(), bits=[8], meaning=[3], colours=palette.reshape(-1).tolist()),
                       palette.T[four[..., 0]] / 257),
        "inks": (tiff(order, four.astype("u1").tobytes(), bits=[8] * 4, samples=[4], meaning=[5]), of_cmyk(four)),
    }  # fmt: skip


def netpbms() -> dict[str, File]:
    made: dict[str, File] = {}
    for most in (1, 15, 255, 1023, 65535):
        values, form = numbers(most, 3), "u1" if most < 256 else ">u2"
        written, head = " ".join(map(str, values.reshape(-1))), f"{WIDTH} {HEIGHT} {most}\n"
        one = " ".join(map(str, values[..., 0].reshape(-1)))
        made[f"P6 {most}"] = ".ppm", f"P6 {head}".encode() + values.astype(form).tobytes(), values * 255 / most
        made[f"P5 {most}"] = ".pgm", f"P5 {head}".encode() + values[..., 0].astype(form).tobytes(), grey(values[..., 0] * 255 / most)
        made[f"P3 {most}"] = ".pnm", f"P3\n# in words\n{head}{written}".encode(), values * 255 / most
        made[f"P2 {most}"] = ".pgm", f"P2 {head}{one}".encode(), grey(values[..., 0] * 255 / most)
    bits, values = numbers(1), RNG.random((HEIGHT, WIDTH))
    made["P1"] = ".pbm", f"P1 {WIDTH} {HEIGHT}\n{' '.join(map(str, bits.reshape(-1)))}".encode(), grey(255 - 255 * bits[..., 0])
    made["P4"] = ".pbm", f"P4 {WIDTH} {HEIGHT}\n".encode() + b"".join(packed(bits, 1)), grey(255 - 255 * bits[..., 0])
    for scale, end in ((-1, "<"), (1, ">")):  # the lowest row comes first
        content = f"Pf\n{WIDTH} {HEIGHT}\n{scale}\n".encode() + values[::-1].astype(f"{end}f4").tobytes()
        made[f"Pf {end}"] = ".pfm", content, grey(values * 255)
    return made


def bmps() -> dict[str, File]:
    def bmp(bits: int, data: bytes, *, kind: int = 0, height: int = HEIGHT, size: int = 40, more: bytes = b"") -> bytes:
        header = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, kind, 0, 0, 0, 0, 0) + more
        return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data

    four, five = numbers(255, 4), numbers(31, 3)
    blue_first, seen = four[..., [2, 1, 0, 3]].astype("u1"), four[..., :3].astype(float)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    thin = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2")
    return {
        "bmp 32": (".bmp", bmp(32, blue_first[::-1].tobytes()), seen),
        "bmp downwards": (".bmp", bmp(32, blue_first.tobytes(), height=-HEIGHT), seen),
        "bmp alpha": (".bmp", bmp(32, blue_first[::-1].tobytes(), kind=3, size=108, more=masks), over_matte(seen, four[..., 3])),
        "bmp 15": (".bmp", bmp(16, thin[::-1].tobytes()), five * 255 / 31),
    }


FILES = {**pngs(), **tiffs("II"), **tiffs("MM"), **netpbms(), **bmps()}


def test_how_many_there_are() -> None:
    assert len(FILES) == 22 + 19 + 16 + 24 + 4


@pytest.mark.parametrize("name", FILES)
def test_pixels(name: str, tmp_path: Path) -> None:
    suffix, content, expected = FILES[name]
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(content)
    found = np.asarray(read_picture(path, matte=COLOUR).image)
    assert found.shape == expected.shape
    assert np.abs(found - np.rint(expected)).max() <= 1
