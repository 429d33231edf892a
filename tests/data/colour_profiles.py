"""Colour profiles assembled by the ICC specification, version 2.4, so simple that what they say can be worked out by hand."""

import struct

import numpy as np

PRIMARIES = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.71410)}
"""Of sRGB, at D50."""


def xyz(*values: float) -> bytes:
    """In s15Fixed16."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(device: bytes, space: bytes, *, connection: bytes, own_tags: dict[bytes, bytes]) -> bytes:
    described = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79)
    tags = {b"desc": described, b"cprt": b"text\0\0\0\0none\0", b"wtpt": b"XYZ \0\0\0\0" + xyz(0.9642, 1.0, 0.8249), **own_tags}
    directory, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        directory += tag + struct.pack(">II", offset + len(body), len(data))
        body += data
    total = 128 + len(directory) + len(body)
    header = struct.pack(">I4sI4s4s4s", total, b"lcms", 0x02400000, device, space, connection) + bytes(12) + b"acsp" + bytes(28)
    return (header + xyz(0.9642, 1.0, 0.8249)).ljust(128, b"\0") + directory + body


def curve(gamma: float) -> bytes:
    """In steps of 1/256; 1 is a straight line."""
    return b"curv\0\0\0\0" + (struct.pack(">I", 0) if gamma == 1 else struct.pack(">IH", 1, round(gamma * 256)))


def rgb_profile(gamma: float, order: str = "rgb") -> bytes:
    """sRGB's primaries in this order, with another curve."""
    primaries = {f"{channel}XYZ".encode(): b"XYZ \0\0\0\0" + xyz(*PRIMARIES[of]) for channel, of in zip("rgb", order, strict=True)}
    return profile(b"mntr", b"RGB ", connection=b"XYZ ", own_tags={**primaries, **{f"{c}TRC".encode(): curve(gamma) for c in "rgb"}})


def grey_profile(gamma: float) -> bytes:
    return profile(b"mntr", b"GRAY", connection=b"XYZ ", own_tags={b"kTRC": curve(gamma)})


def press_profile(lightness: dict[tuple[int, ...], float]) -> bytes:
    """A CMYK press without colours: full and no ink of each kind -> L* from 0 to 255, in between it is interpolated."""
    ramp, identity = bytes(range(256)), xyz(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"".join(bytes([int(lightness[ink]), 128, 128]) for ink in np.ndindex(2, 2, 2, 2))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    return profile(b"prtr", b"CMYK", connection=b"Lab ", own_tags={b"A2B0": lut, b"A2B1": lut})


def black_only_profile() -> bytes:
    """Only black prints: L* falls with it on a straight line."""
    return press_profile({ink: 255 * (1 - ink[3]) for ink in np.ndindex(2, 2, 2, 2)})


def srgb_of_linear(share: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, from 0 to 1."""
    return np.where(share <= 0.0031308, 12.92 * share, 1.055 * np.maximum(share, 0) ** (1 / 2.4) - 0.055)


def linear_of_lightness(lightness: np.ndarray) -> np.ndarray:
    """L* from 0 to 100 -> luminance from 0 to 1 (CIE 1976)."""
    return np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (27 / 24389))
