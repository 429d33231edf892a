"""Pictures that fit a measurement: a denoiser that has also seen y = A x + noise. Shapes as in `process.py`.

All methods are one formula, in which the covariance of x_0 given x_t stands twice (x = E[x_0 | x_t], s the noise's standard deviation):

    E[x_0 | x_t, y] = x + C A* (A C' A* + s^2)^-1 (y - A x)

It is exact for Gaussian data if both are Cov(x_0 | x_t), which by Tweedie's formula is sigma^2 / alpha times the Jacobian of x. The
methods differ in what they put there instead:

    method    C          C'         cost of a step, beside the network
    dps       Jacobian   a number   a backward pass                        Chung et al. 2023
    pigdm     Jacobian   isotropic  a backward pass                        Song et al. 2023
    ddnm      isotropic  isotropic  nothing                                Wang et al. 2023, with noise as in their eq. 17
    moment    Jacobian   Jacobian   a backward pass for each iteration     Rozet et al. 2024

`isotropic` is the covariance that data of unit variance have, sigma^2 / (alpha^2 + sigma^2). In `dps` the whole inverse is a number for
each picture: the step after which the residual would be least, where the paper has a constant to be tuned over the residual's length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aquatint.core.conjugate import Product
from aquatint.core.denoising import Denoiser, Scene
from aquatint.core.operators import Operator
from aquatint.core.process import expand, spread
from aquatint.core.steering import looked

Covariance = Literal["jacobian", "isotropic", "number"]
Method = Literal["dps", "pigdm", "ddnm", "moment"]
METHODS: dict[Method, tuple[Covariance, Covariance]] = {
    "dps": ("jacobian", "number"),
    "pigdm": ("jacobian", "isotropic"),
    "ddnm": ("isotropic", "isotropic"),
    "moment": ("jacobian", "jacobian"),
}


@dataclass(frozen=True)
class Measured:
    """A measurement, and how it is believed."""

    operator: Operator
    y: Tensor
    """Data, a batch of one or of all."""
    noise_std: float
    """Of its noise, in the units of pictures in [-1, 1]."""
    method: Method = "pigdm"
    iterations: int = 3
    """Of conjugate gradients, for `moment`."""
    is_decoded: bool = False
    """Whether the operator sees what a decoder makes of the network's units; then only `dps` will do."""


def conditioned(denoise: Denoiser, measured: Measured, *, scene: Scene) -> Denoiser:
    """The denoiser that has seen the measurement too."""
    outer, inner = METHODS[measured.method]
    view = scene.decode if measured.is_decoded else _as_it_is

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        x_0, by_jacobian = looked(denoise, x_t=x_t, t=t, scene=scene, is_through="jacobian" in (outer, inner))
        open_ = expand(spread(scene.objective.process, t).square(), x_0)
        with torch.enable_grad():
            leaf = x_0.detach().requires_grad_()
            look = _Look(measured, leaf, view(leaf), open_, by_jacobian)
        missed = measured.y.to(x_0.device) - measured.operator.forward(look.seen.detach())
        return x_0 + look.spread_by(outer, measured.operator.adjoint(look.weighed(inner, missed)))

    return guided


def _as_it_is(x_0: Tensor) -> Tensor:
    return x_0


@dataclass(frozen=True)
class _Look:
    """One look at a batch: what is needed for products with Cov(x_0 | x_t)."""

    measured: Measured
    x_0: Tensor
    seen: Tensor
    """x_0 as a picture, from which gradients lead back to it."""
    open_: Tensor
    """(B, 1, 1, 1): the isotropic variance."""
    by_jacobian: Product

    def spread_by(self, kind: Covariance, v: Tensor) -> Tensor:
        """C v of pictures, in the network's units."""
        back = self._back(v)
        return self.open_ * back if kind == "isotropic" else self.by_jacobian(back)

    def weighed(self, kind: Covariance, missed: Tensor) -> Tensor:
        """(A C' A* + s^2)^-1 of what the measurement misses."""
        operator, noise = self.measured.operator, self.measured.noise_std**2
        if kind == "number":
            back, size = self._back(operator.adjoint(missed)), _inner(missed, missed)
            return missed * _ratio(size, _inner(back, self.by_jacobian(back)) + noise * size)
        begun = operator.solve(missed, signal=self.open_, noise=noise)
        if kind == "isotropic":
            return begun

        def applied(v: Tensor) -> Tensor:
            return operator.forward(self.spread_by("jacobian", operator.adjoint(v))) + noise * v

        return solved(applied, missed, begun=begun, iterations=self.measured.iterations)

    def _back(self, v: Tensor) -> Tensor:
        """A gradient on the picture, as one on the network's units."""
        if not self.measured.is_decoded:
            return v
        (back,) = torch.autograd.grad(self.seen, self.x_0, v.to(self.seen), retain_graph=True)
        return back


def solved(applied: Callable[[Tensor], Tensor], wanted: Tensor, *, begun: Tensor, iterations: int) -> Tensor:
    """Conjugate gradients (Hestenes & Stiefel 1952) for a symmetric positive map, picture by picture."""
    x, rest = begun, wanted - applied(begun)
    direction, size = rest, _inner(rest, rest)
    for _ in range(iterations):
        image = applied(direction)
        length = _ratio(size, _inner(direction, image))
        x, rest = x + length * direction, rest - length * image
        grown = _inner(rest, rest)
        direction, size = rest + _ratio(grown, size) * direction, grown
    return x


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """(B, 1, 1, 1), real."""
    return (a.conj() * b).real.flatten(1).sum(1).view(-1, 1, 1, 1)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 1e-30, a / b.clamp(min=1e-30), torch.zeros_like(a))
