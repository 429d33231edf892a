"""What a measurement keeps of a picture: linear operators A with their adjoints, on pictures (B, C, H, W) in [-1, 1].

Each knows the inverse of r A A* + s where that is cheap, which is what posteriors ask for. Data of the Fourier operator are complex;
the others' are real. Wherever a measurement says nothing its data are zero.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.fft import fft2, ifft2
from torch.nn.functional import avg_pool2d, interpolate

Weights = Tensor | float


class Operator(Protocol):
    """A, with A* its adjoint: <A x, y> = <x, A* y>, of complex data the real part."""

    def forward(self, x: Tensor) -> Tensor: ...
    def adjoint(self, y: Tensor) -> Tensor: ...
    def solve(self, y: Tensor, *, signal: Weights, noise: Weights) -> Tensor:
        """(signal A A* + noise)^-1 y, for variances (B, 1, 1, 1) or plain; where both vanish, zero."""


def _over(y: Tensor, divisor: Tensor) -> Tensor:
    return torch.where(divisor > 0, y / divisor.clamp(min=1e-20), torch.zeros_like(y))


@dataclass(frozen=True)
class Masked:
    """Some of the pixels, or all: A A* is the identity where something was measured."""

    mask_11HW: Tensor
    """1 where it was."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask_11HW.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def solve(self, y: Tensor, *, signal: Weights, noise: Weights) -> Tensor:
        return self.forward(_over(y, signal * self.mask_11HW.to(y) + noise))


@dataclass(frozen=True)
class Averaged:
    """Means over squares of `factor` pixels: what a smaller picture shows. A A* is 1 / factor^2."""

    factor: int

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        return interpolate(y, scale_factor=self.factor, mode="nearest") / self.factor**2

    def solve(self, y: Tensor, *, signal: Weights, noise: Weights) -> Tensor:
        return _over(y, signal / self.factor**2 + torch.as_tensor(noise).to(y))


@dataclass(frozen=True)
class Blurred:
    """A convolution, beyond the edges with the opposite side: diagonal in frequencies."""

    kernel_KK: Tensor
    """Odd sides, its middle at the pixel itself."""

    def forward(self, x: Tensor) -> Tensor:
        blurred: Tensor = ifft2(fft2(x.to(_wide(x))) * self._transfer(x)).real.to(x)
        return blurred

    def adjoint(self, y: Tensor) -> Tensor:
        spread: Tensor = ifft2(fft2(y.to(_wide(y))) * self._transfer(y).conj()).real.to(y)
        return spread

    def solve(self, y: Tensor, *, signal: Weights, noise: Weights) -> Tensor:
        solved: Tensor = ifft2(_over(fft2(y.to(_wide(y))), signal * self._transfer(y).abs().square() + noise)).real.to(y)
        return solved

    def _transfer(self, like: Tensor) -> Tensor:
        """(H, W), the kernel's spectrum."""
        kernel, page = self.kernel_KK, torch.zeros(like.shape[-2:], dtype=_wide(like), device=like.device)
        down, across = ((torch.arange(size) - size // 2) % side for size, side in zip(kernel.shape, page.shape, strict=True))
        page.index_put_((down[:, None].to(page.device), across.to(page.device)), kernel.to(page), accumulate=True)
        spectrum: Tensor = fft2(page)
        return spectrum


@dataclass(frozen=True)
class Sampled:
    """Some frequencies of the unitary Fourier transform, in the order of `torch.fft`, each with its mirror: pictures are real.

    So A A* is the identity on what was measured, for data with that symmetry.
    """

    mask_HW: Tensor
    """1 where it was; equal at a frequency and its negative."""

    def forward(self, x: Tensor) -> Tensor:
        data: Tensor = fft2(x.to(_wide(x)), norm="ortho") * self.mask_HW.to(x.device)
        return data

    def adjoint(self, y: Tensor) -> Tensor:
        picture: Tensor = ifft2(y * self.mask_HW.to(y.device), norm="ortho").real
        return picture

    def solve(self, y: Tensor, *, signal: Weights, noise: Weights) -> Tensor:
        mask = self.mask_HW.to(y.device)
        return _over(y, (signal * mask + noise).to(y.real)) * mask


def lines(shape: tuple[int, int], *, acceleration: float, centre: float, seed: int) -> Tensor:
    """(H, W) mask of a Cartesian scan: about one in `acceleration` columns is measured whole, the lowest `centre` share of all among them.

    Which of the others is drawn by the seed, lower ones more often, each together with its mirror.
    """
    height, width = shape
    generator = torch.Generator().manual_seed(seed)
    distance = (torch.fft.fftfreq(width) * width).abs().round().long()
    middle = distance <= centre * width / 2
    wanted = max(int(middle.sum()), round(width / acceleration))
    pairs = torch.arange(1, (width + 1) // 2)
    pairs = pairs[~middle[pairs]]
    likely = (1.0 - pairs / (width / 2)).clamp(min=0.05).square()
    num = min((wanted - int(middle.sum())) // 2, len(pairs))
    drawn = pairs[torch.multinomial(likely, num, generator=generator)] if num else pairs[:0]
    measured: Tensor = middle | torch.isin(distance, drawn)
    return measured.float().expand(height, width).clone()


def mirrored(k_space: Tensor, mask_HW: Tensor) -> tuple[Tensor, Tensor]:
    """Data and mask with the symmetry of real pictures: where a frequency and its negative were both measured, their mean."""
    data, seen = k_space * mask_HW, mask_HW.to(k_space.real.dtype)
    count = seen + _negative(seen)
    both = (data + _negative(data).conj()) / count.clamp(min=1)
    return both, (count > 0).to(mask_HW.dtype)


def gaussian_kernel(std_px: float) -> Tensor:
    """(K, K), of sum 1."""
    reach = max(1, round(3 * std_px))
    along = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / std_px).square())
    kernel = along[:, None] * along
    return kernel / kernel.sum()


def _negative(k_space: Tensor) -> Tensor:
    """The same at -k."""
    turned: Tensor = torch.roll(torch.flip(k_space, (-2, -1)), (1, 1), (-2, -1))
    return turned


def _wide(x: Tensor) -> torch.dtype:
    """There are no transforms of half precision on CPUs."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
