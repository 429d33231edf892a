"""Slices of the real volumes that nibabel brings along for its own tests, and phantoms, as pictures; training and held out apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from restoration.phantoms import head, picture

SIDE_PX = 48
TAUGHT, HELD_OUT = slice(0, 14), slice(17, None)
"""Slices along the axis of each volume; three between them are used by nobody, for neighbours look alike."""
VOLUMES = ("example4d.nii.gz", "anatomical.nii")
HELD_OUT_FROM = 1_000_000
"""Seeds of held-out phantoms."""


def phantoms(num: int, *, is_held_out: bool = False) -> Iterator[NDArray[np.float64]]:
    start = HELD_OUT_FROM if is_held_out else 0
    return (picture(head(start + index), SIDE_PX) for index in range(num))


def volumes() -> Iterator[NDArray[np.float64]]:
    """(slices, rows, columns), each volume's brightest half a percent at 1."""
    import nibabel

    folder = Path(nibabel.__file__).parent / "tests" / "data"
    for name in VOLUMES:
        values = np.asarray(nibabel.load(folder / name).get_fdata(), dtype=float)
        values = values[..., 0] if values.ndim == 4 else values
        upright = np.moveaxis(values, 2, 0).swapaxes(1, 2)[:, ::-1]
        low, high = np.percentile(upright, (0.5, 99.5))
        yield np.clip((upright - low) / (high - low), 0, 1)


def real(*, is_held_out: bool = False) -> Iterator[NDArray[np.float64]]:
    """Squares of SIDE_PX in [0, 1]."""
    for volume in volumes():
        for each in volume[HELD_OUT if is_held_out else TAUGHT]:
            yield np.asarray(squared(each), dtype=float) / 255


def squared(values: NDArray[np.float64]) -> Image.Image:
    """On black, centred, at SIDE_PX."""
    side = max(values.shape)
    page = np.zeros((side, side))
    top, left = ((side - length) // 2 for length in values.shape)
    page[top : top + values.shape[0], left : left + values.shape[1]] = values
    return Image.fromarray((page * 255).round().astype("uint8")).resize((SIDE_PX,) * 2, Image.Resampling.LANCZOS)


def as_image(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).round().astype("uint8"))


def varied(image: Image.Image, seed: int) -> Image.Image:
    """Turned, moved, scaled and mirrored a little: a volume has few slices."""
    random = np.random.default_rng(seed)
    grown = image.resize((3 * SIDE_PX,) * 2, Image.Resampling.BICUBIC)
    turned = grown.rotate(random.uniform(-25, 25), Image.Resampling.BICUBIC, translate=tuple(random.integers(-12, 13, 2)))
    turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else turned
    margin = random.integers(-10, 18)
    return turned.crop((margin, margin, 3 * SIDE_PX - margin, 3 * SIDE_PX - margin)).resize((SIDE_PX,) * 2, Image.Resampling.LANCZOS)


def write_phantoms(folder: Path, num: int) -> Path:
    folder.mkdir(parents=True)
    for index, values in enumerate(phantoms(num)):
        as_image(values).save(folder / f"phantom-{index:05}.png")
    return folder


def write_real(folder: Path, copies: int) -> Path:
    """Each slice as it is and `copies` varied."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, values in enumerate(real()):
        for copy in range(copies + 1):
            image = as_image(values)
            (varied(image, index * 1000 + copy) if copy else image).save(folder / f"real-{index:03}-{copy:02}.png")
    return folder


