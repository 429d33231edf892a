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
    """x_0 moved down the gradient of a loss, in units that mean the same for every model, size and number of steps.

    By Cov(x_0 | x_t) g, as a likelihood with the gradient g would (Chung et al. 2023, with Tweedie's formula), where g is that of the
    loss brought to the size `scale` in the root mean square, so that the loss's own units cancel: data of unit variance moves by
    `scale` standard deviations in all. The step ends where the loss would be zero if it were linear (Polyak 1969). Where there is
    no such end, as `is_bounded` is false or a loss below zero, it ends at `scale` standard deviations of what is still open.
    """

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        x_0, gradient, downhill, losses = _downhill(denoise, loss, x_t=x_t, t=t, scene=scene, is_through=is_through)
        slope, open_ = _dot(gradient, downhill), scale * spread(scene.objective.process, t) / _size(downhill)
        end = torch.where(losses >= 0, losses / slope, open_) if is_bounded else open_
        length = torch.where(slope > 0, torch.minimum(scale / _size(gradient), end), 0.0)
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

        x_0, covariance = looked(self.denoise, x_t=x_t, t=t, scene=self.scene, is_through=self.is_through)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention cannot be differentiated twice
            seen = x_0.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(losses(seen).sum(), seen, create_graph=True)
            way, square = shift(gradient.detach(), covariance, curvature=_curvature(gradient, seen))
        with torch.no_grad():
            share = _mean_along(lambda share: losses(x_0 - expand(share, x_0) * way), square)
        return x_0 - expand(share, x_0) * way


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


def looked(denoise: Denoiser, *, x_t: Tensor, t: Tensor, scene: Scene, is_through: bool) -> tuple[Tensor, Product]:
    """x_0, and Cov(x_0 | x_t) times a vector: by the Jacobian of what is said with the prompt, or as of data of unit variance.

    The Jacobian of a denoiser that is steered is no covariance: at a scale of 5 it is 5 times one, less 4 times another.
    """
    process, is_inner = scene.objective.process, x_t.requires_grad
    if not is_through or float(process.alpha(t[:1])) <= LEAST_ALPHA:
        x_0 = denoise(x_t, t)
        variance = expand(spread(process, t).square(), x_0)
        return x_0, lambda vector: variance * vector
    with torch.enable_grad():
        leaf = x_t.detach().requires_grad_()
        said = scene.told(leaf, t)
    x_0 = said.detach() if denoise is scene.told and not is_inner else denoise(x_t, t)
    factor = expand(covariance_factor(process, t), x_0)
    return x_0, lambda vector: factor * torch.autograd.grad(said, leaf, vector.to(said), retain_graph=True)[0].to(x_0)


def _downhill(
    denoise: Denoiser, loss: Loss, *, x_t: Tensor, t: Tensor, scene: Scene, is_through: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_0; grad L on it; Cov(x_0 | x_t) grad L; the losses, (B,).

    Where the network's covariance would lead up the loss, as no true one does, that of data of unit variance takes its place.
    """
    x_0, covariance = looked(denoise, x_t=x_t, t=t, scene=scene, is_through=is_through)
    with torch.enable_grad():
        seen = x_0.detach().requires_grad_()
        losses = loss(_exact(scene.decode(seen)))
        (gradient,) = torch.autograd.grad(losses.sum(), seen)
    downhill = covariance(gradient)
    plain = expand(spread(scene.objective.process, t).square(), x_0) * gradient
    downhill = torch.where(expand(_dot(gradient, downhill), x_0) > 0, downhill, plain)
    return x_0, gradient, downhill, losses.detach()


def _exact(pixels: Tensor) -> Tensor:
    """Decoders answer in half precision under autocast, in which the mean of a picture is lost."""
    return pixels.float() if pixels.element_size() < 4 else pixels


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _size(vector: Tensor) -> Tensor:
    """(B,): root mean square."""
    return vector.flatten(1).square().mean(1).sqrt()
