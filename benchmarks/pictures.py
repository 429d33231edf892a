"""A folder of captioned pictures that every machine draws alike."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "grey", "white")
RGB = ((200, 40, 40), (40, 160, 60), (40, 70, 200), (230, 210, 60), (130, 50, 150), (240, 140, 30), (128, 128, 128), (245, 245, 245))


def draw_folder(folder: Path, *, num: int, side_px: int) -> None:
    """Discs of one colour on noise, with a `metadata.csv` of `file_name,text`."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    for index in range(num):
        which = index % len(COLOURS)
        _disc(index, RGB[which], side_px=side_px).save(folder / f"{index:03d}.png")
        captions[f"{index:03d}.png"] = f"a {COLOURS[which]} disc"
    write_captions(folder, captions)


def copy_folder(source: Path, folder: Path) -> int:
    """The readable pictures of a folder with their captions in a `metadata.csv`, which both tools read; returns how many."""
    from aquatint.data.records import scan
    from aquatint.data.settings import Images

    records = scan(source, Images()).records
    folder.mkdir(parents=True)
    names = [f"{index:05d}{record.place.suffix}" for index, record in enumerate(records)]
    for record, name in zip(records, names, strict=True):
        (folder / name).write_bytes(record.place.read())
    write_captions(folder, {name: record.caption or "" for record, name in zip(records, names, strict=True)})
    return len(records)


def write_captions(folder: Path, captions: dict[str, str]) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "text"), *captions.items()])


def _disc(seed: int, colour: tuple[int, int, int], *, side_px: int) -> Image.Image:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side_px, :side_px] / side_px
    centre, radius = random.uniform(0.3, 0.7, 2), random.uniform(0.15, 0.3)
    pixels = random.integers(0, 80, (side_px, side_px, 3))
    pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = colour
    return Image.fromarray(pixels.astype(np.uint8))
