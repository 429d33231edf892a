"""What restoration is held to: total variation, mean-fill, bicubic; and how near a picture is to the truth."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from aquatint.core.operators import Operator

WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Of the total variation beside half of the squared misfit; the best one is chosen on pictures that were taught."""


def total_variation(operator: Operator, y: Tensor, *, weight: float, num_steps: int = 3000) -> Tensor:
    """argmin of |A x - y|^2 / 2 + weight TV(x), isotropic, for |A| <= 1 (Chambolle & Pock 2011, algorithm 1, with a dual for the data)."""
    x = operator.adjoint(y)
    mean, dual, data = x.clone(), torch.zeros(2, *x.shape, dtype=x.dtype), torch.zeros_like(y)
    step = 1 / 3.0  # the norm of gradient and operator together is below 3
    for _ in range(num_steps):
        dual = dual + step * _gradient(mean)
        dual = dual / (dual.square().sum(0, keepdim=True).sqrt() / weight).clamp(min=1)
        data = (data + step * (operator.forward(mean) - y)) / (1 + step)
        moved = x - step * (operator.adjoint(data) - _divergence(dual))
        mean, x = 2 * moved - x, moved
    return x


def _gradient(x: Tensor) -> Tensor:
    """(2, ...): forward differences, zero at the end."""
    down, across = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    across[..., :, :-1] = x[..., :, 1:] - x[..., :, :-1]
    return torch.stack([down, across])


def _divergence(dual: Tensor) -> Tensor:
    """Minus the adjoint of the gradient."""
    down, across = dual[0].clone(), dual[1].clone()
    down[..., -1, :] = 0
    across[..., :, -1] = 0
    out = down + across
    out[..., 1:, :] -= down[..., :-1, :]
    out[..., :, 1:] -= across[..., :, :-1]
    return out


def mean_filled(truth: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(known, truth, truth[known].mean())


def bicubic(small: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(small.astype(np.float32), "F").resize((side, side), Image.Resampling.BICUBIC), dtype=float)


def scores(found: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, float]:
    """PSNR in dB and SSIM, both of pictures in [0, 1]."""
    found = found.clip(0, 1)
    return float(peak_signal_noise_ratio(truth, found, data_range=1)), float(structural_similarity(truth, found, data_range=1, win_size=7))
