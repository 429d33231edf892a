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

from aquatint.core.denoising import Denoiser, Scene
from aquatint.core.operators import Operator
from aquatint.core.process import expand, spread
from aquatint.core.steering import LEAST_ALPHA, covariance_factor

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
        is_deep = "jacobian" in (outer, inner) and float(scene.objective.process.alpha(t[:1])) > LEAST_ALPHA
        with torch.set_grad_enabled(is_deep):
            x_t = x_t.detach().requires_grad_(is_deep)
            x_0 = denoise(x_t, t)
        with torch.enable_grad():
            x_0 = x_0 if is_deep else x_0.detach().requires_grad_()
            look = _Look(measured, scene, x_t=x_t, t=t, x_0=x_0, seen=view(x_0), is_deep=is_deep)
        missed = measured.y.to(x_0.device) - measured.operator.forward(look.seen.detach())
        return x_0.detach() + look.spread_by(outer, measured.operator.adjoint(look.weighed(inner, missed)))

    return guided


def _as_it_is(x_0: Tensor) -> Tensor:
    return x_0


@dataclass(frozen=True)
class _Look:
    """One look at a batch: what is needed for products with Cov(x_0 | x_t)."""

    measured: Measured
    scene: Scene
    x_t: Tensor
    t: Tensor
    x_0: Tensor
    seen: Tensor
    """x_0 as a picture."""
    is_deep: bool
    """Whether there is a graph from x_t to `seen`; where x_t says nothing there is none, and all covariances are isotropic."""

    def spread_by(self, kind: Covariance, v: Tensor) -> Tensor:
        """C v of pictures, in the network's units."""
        return self._pulled(v, kind)[1]

    def weighed(self, kind: Covariance, missed: Tensor) -> Tensor:
        """(A C' A* + s^2)^-1 of what the measurement misses."""
        noise = self.measured.noise_std**2
        if kind == "number":
            back, moved = self._pulled(self.measured.operator.adjoint(missed), "jacobian")
            size = _inner(missed, missed)
            return missed * _ratio(size, _inner(back, moved) + noise * size)
        if kind == "jacobian" and self.is_deep:
            return self._conjugate_gradients(missed, noise=noise)
        return self.measured.operator.solve(missed, signal=expand(self._open, self.x_0.detach()), noise=noise)

    def _pulled(self, v: Tensor, kind: Covariance) -> tuple[Tensor, Tensor]:
        """A picture's v in the network's units, as a gradient; and C of that."""
        is_jacobian = kind != "isotropic" and self.is_deep
        if not is_jacobian and not self.measured.is_decoded:
            return v, expand(self._open, v) * v
        sources = [self.x_0, self.x_t] if is_jacobian else [self.x_0]
        back, *deeper = torch.autograd.grad(self.seen, sources, v.to(self.seen), retain_graph=True)
        if not is_jacobian:
            return back, expand(self._open, back) * back
        return back, expand(covariance_factor(self.scene.objective.process, self.t), back) * deeper[0].to(back)

    @property
    def _open(self) -> Tensor:
        """(B,): the isotropic variance."""
        return spread(self.scene.objective.process, self.t).square()

    def _conjugate_gradients(self, missed: Tensor, *, noise: float) -> Tensor:
        """Begins with the isotropic answer; the operator's own data are the space, of complex ones the real inner product."""
        operator = self.measured.operator

        def applied(v: Tensor) -> Tensor:
            return operator.forward(self.spread_by("jacobian", operator.adjoint(v))) + noise * v

        begun = operator.solve(missed, signal=expand(self._open, self.x_0.detach()), noise=noise)
        return solved(applied, missed, begun=begun, iterations=self.measured.iterations)


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
