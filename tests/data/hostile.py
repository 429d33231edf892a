"""Damaged and hostile files, made from sound ones, each with what must come of it.

`bad`: it is named in a finding. `sound`: it is a picture to train on. `either`: damage may have left it readable. `same`: it is named,
or else its pixels are those of the sound file, as when what is lost is only a second page.
"""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

Corpus = dict[str, tuple[str, bytes]]
"""Name -> (what must come of it, content)."""
CUTS, PAGE_CUTS, NUM_FLIPPED = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9), (0.3, 0.6, 0.9), 5
NOISE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
STRANGERS = {
    "nothing": b"", "zeros": bytes(5000), "ones": b"\xff" * 5000, "text": b"milk, bread, butter\n" * 9, "json": b'{"a": [1]}',
    "web page": b"<!DOCTYPE html><html><body>404</body></html>", "xml": b"<?xml version='1.0'?><rss/>", "svg": b"<svg xmlns='x'/>",
    "zip": b"PK\3\4" + bytes(99), "gzip": b"\x1f\x8b\x08" + bytes(99), "pdf": b"%PDF-1.7\n", "photoshop": b"8BPS\0\1" + bytes(40),
    "lfs": b"version https://git-lfs.github.com/spec/v1\n", "heic": b"\0\0\0\x18ftypheic" + bytes(60),
    "mp4": b"\0\0\0\x18ftypisom" + bytes(60),
    "program": b"\x7fELF\2\1\1" + bytes(99), "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "pickle": b"\x80\4}\x94.",
    "script": b"#!/bin/sh\nrm -rf ~\n", "noise": NOISE.tobytes(), "icon": b"\0\0\1\0\1\0" + bytes(40), "jxl": b"\xff\x0a" + bytes(90),
}  # fmt: skip


def encoded(file_format: str, picture: Image.Image | None = None, *, pages: int = 1, **options: object) -> bytes:
    buffer, picture = io.BytesIO(), picture or Image.fromarray(NOISE)
    if pages > 1:
        options |= {"save_all": True, "append_images": [Image.fromarray(np.roll(NOISE, page)) for page in range(1, pages)]}
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def sound() -> dict[str, bytes]:
    """One page each."""
    palette, exif = Image.fromarray(NOISE).quantize(64), Image.Exif()
    exif[274], exif[271] = 6, "maker"
    tiffs = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
    return {
        "rgb.png": encoded("PNG", exif=exif), "palette.png": encoded("PNG", palette, transparency=3),
        "base.jpg": encoded("JPEG", exif=exif), "passes.jpeg": encoded("JPEG", progressive=True),
        "cmyk.jpg": encoded("JPEG", Image.fromarray(NOISE).convert("CMYK")),
        "lossy.webp": encoded("WEBP", exif=exif), "lossless.webp": encoded("WEBP", lossless=True), "one.avif": encoded("AVIF"),
        "one.gif": encoded("GIF", palette), "rgb.bmp": encoded("BMP"), "palette.bmp": encoded("BMP", palette),
        "rgb.ppm": encoded("PPM"), "float.pfm": encoded("PPM", Image.fromarray(NOISE[..., 0] / np.float32(255))),
        "box.jp2": encoded("JPEG2000"), "stream.j2k": encoded("JPEG2000", no_jp2=True), "raw.tif": encoded("TIFF", exif=exif),
        **{f"{name}.tif": encoded("TIFF", compression=name) for name in tiffs},
        "fax.tiff": encoded("TIFF", Image.fromarray(NOISE[..., 0] > 127), compression="group4"),
    }  # fmt: skip


def with_pages() -> dict[str, bytes]:
    formats = {"moving.gif": "GIF", "moving.apng": "PNG", "moving.webp": "WEBP", "moving.avif": "AVIF", "pages.tif": "TIFF",
               "two.mpo": "MPO"}  # fmt: skip
    return {name: encoded(file_format, pages=3) for name, file_format in formats.items()}


def cut() -> Corpus:
    parts = [(item, CUTS, "bad") for item in sound().items()] + [(item, PAGE_CUTS, "same") for item in with_pages().items()]
    return {
        f"cut/{share:.0%} {name}": (verdict, content[: int(len(content) * share)])
        for (name, content), shares, verdict in parts for share in shares
    }  # fmt: skip


def flipped() -> Corpus:
    """A few bytes are others, mostly near the beginning, where they matter more."""
    rng, made = np.random.default_rng(7), {}
    for name, content in {**sound(), **with_pages()}.items():
        for number in range(NUM_FLIPPED):
            damaged = bytearray(content)
            for place in rng.integers(0, min(len(content), (64, 400, 10**6)[number % 3]), 2**number):
                damaged[place] = rng.integers(0, 256)
            made[f"flipped/{number} {name}"] = "either", bytes(damaged)
    return made


def misnamed() -> Corpus:
    """Under the suffix of the next format; and things that are no pictures, under two."""
    files = [(name, content) for name, content in sound().items() if name in ("rgb.png", "base.jpg", "one.gif", "rgb.bmp", "rgb.ppm",
             "lossy.webp", "one.avif", "box.jp2", "raw.tif")]  # fmt: skip
    suffixes = [name.rpartition(".")[2] for name, _ in files]
    others = zip(files, [*suffixes[1:], suffixes[0]], strict=True)
    return {
        **{f"misnamed/{name}.{suffix}": ("bad", content) for (name, content), suffix in others},
        **{f"misnamed/{name}.{suffix}": ("bad", content) for name, content in STRANGERS.items() for suffix in ("png", "JPG")},
    }


def chunk(kind: bytes, data: bytes = b"", *, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(width: int, height: int, *, before: bytes = b"", rows: bytes | None = None, bits: int = 8, kind: int = 0) -> bytes:
    """Grey unless said otherwise; rows default to zeros."""
    rows = bytes((-(-width * bits // 8) + 1) * height) if rows is None else rows
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


def pngs() -> Corpus:
    bomb = b"x\0\0" + zlib.compress(bytes(80 << 20), 9)
    good = png(9, 9)
    return {
        "huge.png": ("bad", png(60_000, 60_000, rows=b"")), "largest.png": ("bad", png(2**31 - 1, 2**31 - 1, rows=b"")),
        "long.png": ("bad", png(100_000_000, 1, rows=b"")), "tall.png": ("bad", png(1, 100_000_000, rows=b"")),
        "cannot be.png": ("bad", png(13_000, 13_000, rows=b"")), "flat.png": ("bad", png(6000, 6000)),
        "no width.png": ("bad", png(0, 9)), "no size.png": ("bad", png(0, 0)), "bits.png": ("bad", png(9, 9, bits=7)),
        "kind.png": ("bad", png(9, 9, kind=5)), "no rows.png": ("bad", png(9, 9, rows=b"")), "headless.png": ("bad", good[:8] + good[33:]),
        "no data.png": ("bad", good[:33] + chunk(b"IEND")), "text bomb.png": ("bad", png(9, 9, before=chunk(b"zTXt", bomb))),
        "profile bomb.png": ("bad", png(9, 9, before=chunk(b"iCCP", bomb))), "wrong sum.png": ("bad", good[:29] + bytes(4) + good[33:]),
        "many chunks.png": ("sound", png(9, 9, before=chunk(b"teSt") * 20_000)), "too much.png": ("sound", png(9, 9, rows=bytes(50 << 20))),
        "frames.apng": ("sound", png(9, 9, before=chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))),
        "rubbish behind.png": ("sound", good + bytes(99)), "long chunk.png": ("bad", good[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT123"),
        "bad palette.png": ("bad", png(9, 9, kind=3, rows=b"\0123456789" * 9)),
        "profile.png": ("sound", png(9, 9, before=chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile" * 99)))),
    }  # fmt: skip


def jpegs() -> Corpus:
    good, exif = encoded("JPEG", subsampling=0), b"Exif\0\0MM\0*\0\0\0\x08"
    frame, steps = good.index(b"\xff\xc0"), encoded("JPEG", progressive=True)
    passes = steps.rindex(b"\xff\xda")

    def sized(width: int, height: int) -> bytes:
        return good[: frame + 5] + struct.pack(">HH", height, width) + good[frame + 9 :]

    def told(data: bytes, *, marker: bytes = b"\xff\xe1") -> bytes:
        return good[:2] + marker + struct.pack(">H", len(data) + 2) + data + good[2:]

    loop = struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8)
    return {
        "huge.jpg": ("bad", sized(65_500, 65_500)), "cannot be.jpg": ("bad", sized(13_000, 13_000)), "no width.jpg": ("bad", sized(0, 40)),
        "taller.jpg": ("either", sized(48, 2000)), "one pass.jpg": ("bad", good[:2] + good[-2:]),
        "passes.jpg": ("bad", steps[:passes] + steps[passes:-2] * 200 + b"\xff\xd9"),
        "exif noise.jpg": ("sound", told(b"Exif\0\0" + NOISE.tobytes()[:999])), "exif loop.jpg": ("sound", told(exif + loop)),
        "exif count.jpg": ("sound", told(exif + b"\xff\xff")), "exif far.jpg": ("sound", told(exif[:-1] + b"\xff")),
        "exif turn.jpg": ("sound", told(exif + struct.pack(">HHHII", 1, 274, 2, 2**31, 4))),
        "exif ninth.jpg": ("sound", told(exif + struct.pack(">HHHIHHI", 1, 274, 3, 1, 9, 0, 0))),
        "pages.jpg": ("sound", told(b"MPF\0" + NOISE.tobytes()[:200], marker=b"\xff\xe2")),
        "profile.jpg": ("sound", told(b"ICC_PROFILE\0\1\1" + NOISE.tobytes()[:300], marker=b"\xff\xe2")),
        "tables.jpg": ("bad", told(b"\0" + b"\xff" * 80, marker=b"\xff\xc4")), "segment.jpg": ("bad", good[:4] + b"\xff\xff" + good[6:]),
    }  # fmt: skip


def tiff(*entries: tuple[int, int, int, int], next_at: int = 0, data: bytes = b"") -> bytes:
    """(tag, type, count, value) each; little-endian, data at offset 400."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (b"II*\0\x08\0\0\0" + directory + struct.pack("<I", next_at)).ljust(400, b"\0") + data


def tiffs() -> Corpus:
    def grey(width: int = 9, height: int = 9, *more: tuple[int, int, int, int], **told: int) -> bytes:
        base = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, told.get("packed", 1)), 262: (3, 1, 1),
                273: (4, 1, told.get("at", 400)), 278: (4, 1, told.get("rows", height)), 279: (4, 1, told.get("length", 81))}  # fmt: skip
        base |= {tag: rest for tag, *rest in more}
        entries = [(tag, *rest) for tag, rest in sorted(base.items())]
        return tiff(*entries, next_at=told.get("next_at", 0), data=bytes(told.get("stored", 81)))

    huge = 2**32 - 1
    return {
        "good.tif": ("sound", grey()), "loop.tif": ("sound", grey(next_at=8)), "next far.tif": ("sound", grey(next_at=huge)),
        "next in data.tif": ("sound", grey(next_at=410)), "huge.tif": ("bad", grey(60_000, 60_000)), "long.tif": ("bad", grey(huge, 1)),
        "cannot be.tif": ("bad", grey(3_000_000, 40)), "far.tif": ("bad", grey(at=huge)), "short.tif": ("bad", grey(stored=40)),
        "nothing.tif": ("bad", grey(0, 0)), "packed.tif": ("bad", grey(packed=999)), "unpackable.tif": ("bad", grey(packed=5)),
        "samples.tif": ("bad", grey(9, 9, (277, 3, 1, 65535))), "bits.tif": ("bad", grey(9, 9, (258, 3, 1, 999))),
        "count.tif": ("bad", b"II*\0\x08\0\0\0\xff\xff" + bytes(99)), "far directory.tif": ("bad", b"II*\0\xff\xff\xff\xff" + bytes(99)),
        "itself.tif": ("bad", b"II*\0\0\0\0\0" + bytes(99)), "big.tif": ("bad", b"II+\0\x08\0\0\0" + b"\xff" * 99),
        "comment.tif": ("either", grey(9, 9, (270, 2, huge, 400))), "profile.tif": ("either", grey(9, 9, (34675, 7, huge, 400))),
    }  # fmt: skip


def others() -> Corpus:
    """GIF, BMP, PPM, JPEG 2000, WEBP, AVIF."""
    gif, bmp, codestream = encoded("GIF"), encoded("BMP"), encoded("JPEG2000", no_jp2=True)
    at, size = gif.index(b",", 700), codestream.index(b"\xff\x51") + 6
    webp, avif = encoded("WEBP"), encoded("AVIF")
    extent = avif.index(b"ispe") + 8

    def patched(content: bytes, place: int, *, form: str, values: tuple[int, ...]) -> bytes:
        return content[:place] + struct.pack(form, *values) + content[place + struct.calcsize(form) :]

    return {
        "huge.gif": ("bad", patched(gif, 6, form="<HH", values=(65535, 65535))),
        "frames.gif": ("sound", gif[:-1] + gif[at:-1] * 3000 + b";"),
        "no frame.gif": ("bad", gif[:at] + b";"), "blocks.gif": ("bad", gif[:at] + b"!\xfe\1x\0" * 30_000),
        "huge frame.gif": ("either", patched(gif, at + 5, form="<HH", values=(65535, 65535))),
        "outside.gif": ("either", patched(gif, at + 1, form="<HH", values=(60_000, 60_000))),
        "negative.bmp": ("bad", patched(bmp, 18, form="<i", values=(-48,))),
        "lowest.bmp": ("bad", patched(bmp, 22, form="<i", values=(-(2**31),))),
        "huge.bmp": ("bad", patched(bmp, 18, form="<ii", values=(60_000, 60_000))),
        "cannot be.bmp": ("bad", patched(bmp, 18, form="<ii", values=(10_000, 9000))),
        "far.bmp": ("bad", patched(bmp, 10, form="<I", values=(2**32 - 1,))),
        "bits.bmp": ("bad", patched(bmp, 28, form="<H", values=(77,))),
        "packed.bmp": ("bad", patched(bmp, 30, form="<I", values=(99,))),
        "huge.ppm": ("bad", b"P6 99999999 99999999 255\n" + bytes(99)), "cannot be.ppm": ("bad", b"P6 9999 9999 255\n" + bytes(99)),
        "negative.ppm": ("bad", b"P6 -9 9 255\n" + bytes(999)), "white.ppm": ("bad", b"P6 9 9 0\n" + bytes(999)),
        "whiter.ppm": ("bad", b"P6 9 9 70000\n" + bytes(999)), "digits.ppm": ("bad", b"P6 " + b"9" * 1_000_000),
        "comment.ppm": ("bad", b"P6 #" + b"x" * 2_000_000), "letters.ppm": ("bad", b"P3 9 9 255\n" + b"nine " * 9999),
        "huge.pfm": ("bad", b"Pf\n99999 99999\n-1.0\n" + bytes(99)), "scale.pfm": ("bad", b"Pf\n9 9\n0\n" + bytes(324)),
        "huge.j2k": ("bad", patched(codestream, size, form=">II", values=(2**31, 2**31))),
        "cannot be.j2k": ("bad", patched(codestream, size, form=">II", values=(13_000, 13_000))),
        "tiles.j2k": ("either", patched(codestream, size + 16, form=">II", values=(1, 1))),
        "no tiles.j2k": ("bad", patched(codestream, size + 16, form=">II", values=(0, 0))),
        "size.webp": ("bad", patched(webp, 4, form="<I", values=(2**32 - 1,))), "nothing.webp": ("bad", webp[:12]),
        "huge.avif": ("bad", patched(avif, extent, form=">II", values=(65535, 65535))),
    }  # fmt: skip


@cache
def corpus() -> Corpus:
    by_hand = {"pngs": pngs(), "jpegs": jpegs(), "tiffs": tiffs(), "others": others()}
    whole = {f"sound/{name}": ("sound", content) for name, content in {**sound(), **with_pages()}.items()}
    made = {f"{folder}/{name}": case for folder, cases in by_hand.items() for name, case in cases.items()}
    return {**whole, **cut(), **flipped(), **misnamed(), **made}
