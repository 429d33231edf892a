"""How a denoiser is steered: by what it says without the prompt, and by the gradient of a loss. Shapes as in `process.py`."""

from collections.abc import Callable

import torch
from torch import Tensor

from aquatint.core.denoising import Denoiser, Scene
from aquatint.core.objective import Objective
from aquatint.core.process import NoiseProcess, expand, spread, to_output, to_x_0

Loss = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W), about in [-1, 1] -> losses (B,)."""
LEAST_ALPHA = 1e-2
"""Below, x_t says nothing of x_0, and the gradient through the denoiser is lost in rounding."""


def apart(denoise: Denoiser, scene: Scene) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What `denoise` says, and what is said without the prompt: by one call of the network where nothing steers `denoise` yet."""
    both = scene.both
    assert both is not None
    return both if denoise is scene.told else lambda x_t, t: (denoise(x_t, t), both(x_t, t)[1])


def rescaled(x_0: Tensor, given: Tensor, *, x_t: Tensor, t: Tensor, objective: Objective, share: float) -> Tensor:
    """The guided output brought to the spread of the unguided one (Lin et al. 2023, eq. 15 and 16), as diffusers does it."""
    process, prediction = objective.process, objective.prediction
    guided, plain = (to_output(process, prediction, x_0=each, x_t=x_t, t=t) for each in (x_0, given))
    factor = expand(plain.flatten(1).std(1) / guided.flatten(1).std(1), guided)
    return to_x_0(process, prediction, output=guided * (share * factor + 1 - share), x_t=x_t, t=t)


def nudged(denoise: Denoiser, loss: Loss, *, scene: Scene, scale: float, is_through: bool) -> Denoiser:
    """x_0 moved down the gradient of a loss, in units that mean the same for every model, size and noise level.

    The direction is that of Cov(x_0 | x_t) grad L where the gradient goes through the denoiser (Chung et al. 2023, with Tweedie's
    formula), of grad L on the estimate where it does not (as Yu et al. 2023). The step is `scale` times the standard deviation
    that x_0 still has, but ends where the loss would be zero if it were linear (Polyak 1969): the loss's own units cancel.
    """

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        x_0, downhill, slope, losses = _downhill(denoise, loss, x_t=x_t, t=t, scene=scene, is_through=is_through)
        size = downhill.flatten(1).square().mean(1).sqrt()
        furthest = scale * spread(scene.objective.process, t) / size
        to_zero = torch.where(slope > 0, losses / slope, furthest)
        length = torch.where(size > 0, torch.minimum(furthest, to_zero), torch.zeros_like(size))
        return x_0 - expand(length, x_0) * downhill

    return guided


def tilted(denoise: Denoiser, loss: Loss, *, scene: Scene, scale: float, is_through: bool) -> Denoiser:
    """x_0 as expected when each picture's probability is multiplied by exp(-scale L): E[x_0 | x_t] - scale Cov(x_0 | x_t) grad L.

    Exact for Gaussian data and a linear loss. Not through the denoiser the covariance is that of data of unit variance.
    """

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        x_0, downhill, _, _ = _downhill(denoise, loss, x_t=x_t, t=t, scene=scene, is_through=is_through)
        return x_0 - scale * downhill

    return guided


def covariance_factor(process: NoiseProcess, t: Tensor) -> Tensor:
    """(B,): Cov(x_0 | x_t) = this times the Jacobian of E[x_0 | x_t]: sigma^2 / alpha (Tweedie's formula, Efron 2011)."""
    return process.sigma(t).square() / process.alpha(t)


def _downhill(
    denoise: Denoiser, loss: Loss, *, x_t: Tensor, t: Tensor, scene: Scene, is_through: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_0; Cov(x_0 | x_t) grad L; how fast the loss falls along that, (B,); the losses, (B,)."""
    process, is_inner = scene.objective.process, x_t.requires_grad
    is_through = is_through and float(process.alpha(t[:1])) > LEAST_ALPHA
    with torch.set_grad_enabled(is_through or is_inner):
        x_t = x_t if is_inner or not is_through else x_t.detach().requires_grad_()
        x_0 = denoise(x_t, t)
    with torch.enable_grad():
        looked_at = x_0 if is_through else x_0.detach().requires_grad_()
        losses = loss(scene.decode(looked_at))
        sources = [looked_at, x_t] if is_through else [looked_at]
        gradient, *deeper = torch.autograd.grad(losses.sum(), sources, retain_graph=is_inner)
    gradient = gradient.to(x_0.dtype)
    if is_through:
        downhill = expand(covariance_factor(process, t), x_0) * deeper[0].to(x_0.dtype)
    else:
        downhill = expand(spread(process, t).square(), x_0) * gradient
    slope = (gradient * downhill).flatten(1).sum(1)
    return x_0 if is_inner else x_0.detach(), downhill, slope, losses.detach()
