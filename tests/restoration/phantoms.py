"""Heads made of ellipses, after Shepp and Logan (1974), each a little different; their k-space is known exactly.

Lengths in halves of the field of view, which is [-1, 1] both ways; x runs to the right, y downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

SHARPNESS = 0.7
"""What is left of the amplitude at the highest frequency: without some smoothing edges would ring, as in a scanner's raw images."""


@dataclass(frozen=True)
class Ellipse:
    centre: tuple[float, float]
    axes: tuple[float, float]
    """Half lengths."""
    angle: float
    """Of the first axis from x towards y, radians."""
    value: float
    """Added inside."""

    def transformed(self, kx: NDArray[np.float64], ky: NDArray[np.float64]) -> NDArray[np.complex128]:
        """The integral of value exp(-2 pi i k r) over the ellipse, k in cycles a unit: a jinc, turned and moved."""
        (x, y), (a, b) = self.centre, self.axes
        along = a * (kx * np.cos(self.angle) + ky * np.sin(self.angle))
        across = b * (ky * np.cos(self.angle) - kx * np.sin(self.angle))
        rho = np.hypot(along, across)
        safe = np.where(rho < 1e-9, 1.0, rho)
        jinc = np.where(rho < 1e-9, np.pi, j1(2 * np.pi * safe) / safe)
        return self.value * a * b * jinc * np.exp(-2j * np.pi * (kx * x + ky * y))


def head(seed: int) -> list[Ellipse]:
    """Skull, brain, ventricles, and a few lesions; none is like another."""
    random = np.random.default_rng(seed)

    def near(value: float, spread: float = 0.15) -> float:
        return float(value * random.uniform(1 - spread, 1 + spread))

    tilt, x, y = random.uniform(-0.25, 0.25), random.uniform(-0.06, 0.06), random.uniform(-0.06, 0.06)
    wide, tall, bone = near(0.66), near(0.84, 0.08), random.uniform(0.04, 0.09)
    grey = random.uniform(0.25, 0.55)
    ellipses = [
        Ellipse((x, y), (wide, tall), tilt, 0.9),
        Ellipse((x, y + 0.01), (wide - bone, tall - bone), tilt, grey - 0.9),
    ]
    for side in (-1, 1):
        centre = (x + side * near(0.2, 0.25), y + random.uniform(-0.12, 0.08))
        ellipses.append(Ellipse(centre, (near(0.1, 0.35), near(0.28, 0.3)), tilt - side * near(0.3), -grey * random.uniform(0.6, 1)))
    for _ in range(random.integers(3, 8)):
        radius, turn = random.uniform(0, 0.55), random.uniform(0, 2 * np.pi)
        centre = (x + radius * wide * np.cos(turn), y + radius * tall * np.sin(turn))
        axes = (random.uniform(0.03, 0.16), random.uniform(0.03, 0.16))
        ellipses.append(Ellipse(centre, axes, random.uniform(0, np.pi), random.uniform(-0.2, 0.25)))
    return ellipses


def k_space(ellipses: Sequence[Ellipse], side_px: int) -> NDArray[np.complex128]:
    """(side, side): the unitary discrete Fourier transform of the picture, from the ellipses alone, in the order of `numpy.fft`."""
    numbers = np.fft.fftfreq(side_px, 1 / side_px)
    kx, ky = np.meshgrid(numbers / 2, numbers / 2)
    exact = sum(ellipse.transformed(kx, ky) for ellipse in ellipses)
    to_corner = np.exp(2j * np.pi * (kx + ky) * (1 / side_px - 1))  # pixel 0 lies half a pixel inside of -1
    reach = np.hypot(numbers[None], numbers[:, None]) / (side_px / 2)
    kept = SHARPNESS ** (reach**2) * (np.abs(numbers) < side_px / 2)[None] * (np.abs(numbers) < side_px / 2)[:, None]
    return exact * to_corner * kept * side_px / 4


def picture(ellipses: Sequence[Ellipse], side_px: int) -> NDArray[np.float64]:
    """(side, side), about in [0, 1]: what a scanner that measured every frequency would show."""
    return np.fft.ifft2(k_space(ellipses, side_px), norm="ortho").real
