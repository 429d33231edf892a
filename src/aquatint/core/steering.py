"""How a denoiser is steered: by what it says without the prompt, and by the gradient of a loss. Shapes as in `process.py`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from aquatint.core.conjugate import Product, shift
from aquatint.core.denoising import Denoiser, Scene
from aquatint.core.objective import Objective
from aquatint.core.process import NoiseProcess, expand, spread, to_output, to_x_0

Loss = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W), about in [-1, 1] -> losses (B,)."""
LEAST_ALPHA = 1e-2
"""Below, x_t says nothing of x_0, and the gradient through the denoiser is lost in rounding."""
EVEN = 1e-3
"""Relative to logarithms of densities: what differs by less is equal."""
NUM_PLACES, WIDTH = 33, 3.5
"""At which a density is looked at, to so many standard deviations."""
TINY = 1e-12


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


def nudged(
    denoise: Denoiser, loss: Loss, *, scene: Scene, scale: float, is_through: bool, is_bounded: bool = True
) -> Denoiser:  # fmt: skip
    """x_0 moved down the gradient of a loss, in units that mean the same for every model, size and noise level.

    The direction is that of Cov(x_0 | x_t) grad L where the gradient goes through the denoiser (Chung et al. 2023, with Tweedie's
    formula), of grad L on the estimate where it does not (as Yu et al. 2023). The step is `scale` times the standard deviation
    that x_0 still has, but ends where the loss would be zero if it were linear (Polyak 1969): the loss's own units cancel. Without
    that end where `is_bounded` is false, and where a loss is below zero.
    """

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        x_0, downhill, slope, losses = _downhill(denoise, loss, x_t=x_t, t=t, scene=scene, is_through=is_through)
        size = downhill.flatten(1).square().mean(1).sqrt()
        furthest = scale * spread(scene.objective.process, t) / size
        to_zero = torch.where((slope > 0) & (losses >= 0), losses / slope, furthest) if is_bounded else furthest
        length = torch.where(size > 0, torch.minimum(furthest, to_zero), torch.zeros_like(size))
        return x_0 - expand(length, x_0) * downhill

    return guided


@dataclass(frozen=True)
class Term:
    """One of the losses that a picture's probability is multiplied by exp(-scale L) of."""

    loss: Loss
    scale: float
    start: float = 1.0
    stop: float = 0.0
    """Counts at noise levels between the two."""


def tilted(
    denoise: Denoiser, loss: Loss, *, scene: Scene, scale: float, is_through: bool, window: tuple[float, float] = (1.0, 0.0)
) -> Denoiser:  # fmt: skip
    """x_0 as expected when each picture's probability is multiplied by exp(-scale L). A step of Newton's method points the way,

        E[x_0 | x_t] - (C^-1 + scale H)^-1 scale grad L,    C = Cov(x_0 | x_t),  H the Hessian of L, both at E[x_0 | x_t],

    and where L is not quadratic, the mean along this line says how far to go. Exact for Gaussian data and a loss that is linear or
    quadratic (as Song et al. 2023, pseudoinverse guidance, eq. 7) or depends on one linear function of the picture. C is the
    Jacobian of the denoiser (Tweedie's formula) or, where the gradient does not go through it, that of data of unit variance.
    Tilts of a tilted denoiser are added up and solved as one, so that their order does not matter.
    """
    term = Term(loss, scale, *window)
    if isinstance(denoise, Tilted) and denoise.is_through == is_through:
        return replace(denoise, terms=(*denoise.terms, term))
    return Tilted(denoise, scene, (term,), is_through)


@dataclass(frozen=True)
class Tilted:
    """The denoiser of `tilted`."""

    denoise: Denoiser
    scene: Scene
    terms: tuple[Term, ...]
    is_through: bool

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        terms = [term for term in self.terms if term.stop <= float(t[0]) <= term.start]
        if not terms:
            return self.denoise(x_t, t)

        def losses(x_0: Tensor) -> Tensor:
            pixels = _exact(self.scene.decode(x_0))
            return torch.stack([term.scale * term.loss(pixels) for term in terms]).sum(0)

        is_inner = x_t.requires_grad
        x_t, x_0 = _estimate(self.denoise, x_t=x_t, t=t, scene=self.scene, is_through=self.is_through)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention cannot be differentiated twice
            seen = x_0.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(losses(seen).sum(), seen, create_graph=True)
            way, square = shift(gradient.detach(), self._covariance(x_t, x_0, t=t), curvature=_curvature(gradient, seen))
        with torch.no_grad():
            share = _mean_along(lambda share: losses(x_0 - expand(share, x_0) * way), square)
        return (x_0 if is_inner else x_0.detach()) - expand(share, x_0) * way

    def _covariance(self, x_t: Tensor, x_0: Tensor, *, t: Tensor) -> Product:
        """Cov(x_0 | x_t) times a vector."""
        process = self.scene.objective.process
        if not (self.is_through and _says_something(process, t)):
            variance = expand(spread(process, t).square(), x_0)
            return lambda vector: variance * vector
        factor = expand(covariance_factor(process, t), x_0)
        return lambda vector: factor * torch.autograd.grad(x_0, x_t, vector, retain_graph=True)[0].to(vector)


def _mean_along(losses: Callable[[Tensor], Tensor], square: Tensor) -> Tensor:
    """(B,): the mean of s when exp(-s^2 square / 2 - losses(s)) is its density.

    1 if the losses are quadratic in s, as the density is then symmetric: told by its two ends.
    """

    def unlikely(s: Tensor) -> Tensor:
        return s.square() * square / 2 + losses(s)

    reach = 1 + WIDTH * square.clamp(min=TINY).rsqrt()
    left, right = unlikely(1 - reach), unlikely(1 + reach)
    is_odd = (square > 0) & ((left - right).abs() > EVEN * (1 + left.abs() + right.abs()))
    if not is_odd.any():
        return torch.ones_like(square)
    places = 1 + reach * torch.linspace(-1, 1, NUM_PLACES).to(square)[:, None]
    shares = (-torch.stack([unlikely(place) for place in places])).softmax(0)
    return torch.where(is_odd, (shares * places).sum(0), 1.0)


def _curvature(gradient: Tensor, seen: Tensor) -> Product:
    """The Hessian of the loss times a vector (Pearlmutter 1994)."""

    def product(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:
            return torch.zeros_like(vector)
        (found,) = torch.autograd.grad(gradient, seen, vector, retain_graph=True, allow_unused=True, materialize_grads=True)
        return found

    return product


def covariance_factor(process: NoiseProcess, t: Tensor) -> Tensor:
    """(B,): Cov(x_0 | x_t) = this times the Jacobian of E[x_0 | x_t]: sigma^2 / alpha (Tweedie's formula, Efron 2011)."""
    return process.sigma(t).square() / process.alpha(t)


def _downhill(
    denoise: Denoiser, loss: Loss, *, x_t: Tensor, t: Tensor, scene: Scene, is_through: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_0; Cov(x_0 | x_t) grad L; how fast the loss falls along that, (B,); the losses, (B,)."""
    process, is_inner = scene.objective.process, x_t.requires_grad
    x_t, x_0 = _estimate(denoise, x_t=x_t, t=t, scene=scene, is_through=is_through)
    is_through = is_through and _says_something(process, t)
    with torch.enable_grad():
        looked_at = x_0 if is_through else x_0.detach().requires_grad_()
        losses = loss(_exact(scene.decode(looked_at)))
        sources = [looked_at, x_t] if is_through else [looked_at]
        gradient, *deeper = torch.autograd.grad(losses.sum(), sources, retain_graph=is_inner)
    gradient = gradient.to(x_0.dtype)
    if is_through:
        downhill = expand(covariance_factor(process, t), x_0) * deeper[0].to(x_0.dtype)
    else:
        downhill = expand(spread(process, t).square(), x_0) * gradient
    slope = (gradient * downhill).flatten(1).sum(1)
    return x_0 if is_inner else x_0.detach(), downhill, slope, losses.detach()


def _estimate(denoise: Denoiser, *, x_t: Tensor, t: Tensor, scene: Scene, is_through: bool) -> tuple[Tensor, Tensor]:
    """x_t and x_0, with the graph between them where the gradient goes through the denoiser, or somebody outside asks for it."""
    is_inner, is_through = x_t.requires_grad, is_through and _says_something(scene.objective.process, t)
    with torch.set_grad_enabled(is_through or is_inner):
        x_t = x_t if is_inner or not is_through else x_t.detach().requires_grad_()
        return x_t, denoise(x_t, t)


def _says_something(process: NoiseProcess, t: Tensor) -> bool:
    return float(process.alpha(t[:1])) > LEAST_ALPHA


def _exact(pixels: Tensor) -> Tensor:
    """Decoders answer in half precision under autocast, in which the mean of a picture is lost."""
    return pixels.float() if pixels.element_size() < 4 else pixels
