"""Adapters added, cut to a rank, and drawn from the difference of two models.

No large matrix is formed where the factors are at hand: with B = Q_b R_b and A^T = Q_a R_a the singular values of B A are
those of the small R_b R_a^T (rank x rank). Differences of models are reduced by a randomised range finder (Halko et al. 2011).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aquatint.errors import BadFile
from aquatint.export.adapter import Adapter, Factors
from aquatint.export.architectures import title_of

Spectrum = tuple[Tensor, Tensor, Tensor]
"""U (O, R), singular values (R,) falling, V^T (R, I): a matrix by its singular vectors; float64."""
OVERSAMPLING, NUM_POWERS = 16, 5
"""Of the randomised range finder: columns beyond twice the rank, and passes that sharpen what they span."""
EXACT_UP_TO = 320
"""Matrices with a side up to this are decomposed whole."""


@dataclass(frozen=True)
class Reduced:
    adapter: Adapter
    kept: Mapping[str, float]
    """Layer -> share of the squared singular values that are left."""

    @property
    def share(self) -> float:
        """The mean over layers; 1 where nothing was lost."""
        return sum(self.kept.values()) / max(len(self.kept), 1)


def merged(adapters: Sequence[Adapter], weights: Sequence[float], *, method: str = "concat", rank: int | None = None) -> Reduced:
    """One adapter whose update is the weighted sum of the others'.

    `concat` is exact and its rank is the sum; `svd` cuts that to `rank` (by itself: the largest of the inputs'); `weight`
    adds up the factors themselves, which is right for states of one run alone. Raises `BadFile` for what does not add up.
    """
    check_alike(adapters)
    shared = replace(adapters[0], spelling="diffusers", unknown=(), layers={})
    names = list(dict.fromkeys(name for adapter in adapters for name in adapter.layers))
    add = _averaged if method == "weight" else _joined
    layers = {}
    for name in names:
        there = [(a.layers[name], weight) for a, weight in zip(adapters, weights, strict=True) if name in a.layers]
        layers[name] = add(there, name, total=sum(weights))
    whole = replace(shared, layers=layers)
    if method != "svd":
        return Reduced(whole, dict.fromkeys(names, 1.0))
    return reduced(whole, lambda values: rank or max(r for adapter in adapters for r in adapter.ranks))


def check_alike(adapters: Sequence[Adapter]) -> None:
    """Raises `BadFile` unless all are LoRA for one architecture, with layers of the same shapes."""
    for adapter in adapters:
        if adapter.others or adapter.is_dora or not adapter.layers:
            raise BadFile(f"only LoRA can be added up or cut to a rank, and this is {', '.join(adapter.kinds)}: its update is no product")
    architectures = list(dict.fromkeys(adapter.architecture for adapter in adapters))
    if len(architectures) > 1:
        raise BadFile(f"these adapters are for different architectures: {', '.join(map(title_of, architectures))}")
    shapes: dict[str, tuple[int, ...]] = {}
    for adapter in adapters:
        for name, factors in adapter.layers.items():
            if shapes.setdefault(name, factors.shape) != factors.shape:
                raise BadFile(f"{name} is {list(shapes[name])} in one adapter and {list(factors.shape)} in another; "
                              "they are for models of different sizes")  # fmt: skip


def reduced(adapter: Adapter, choose: Callable[[Tensor], int]) -> Reduced:
    """Each layer cut to the rank that `choose` gives for its singular values (R,); the best approximation there is."""
    check_alike([adapter])
    layers, kept = {}, {}
    for name, factors in adapter.layers.items():
        spectrum = spectrum_of(*factors.matrices())
        layers[name], kept[name] = cut(spectrum, choose(spectrum[1]), shape=factors.shape, dtype=factors.up.dtype)
    return Reduced(replace(adapter, layers=layers), kept)


def rank_for(values: Tensor, share: float) -> int:
    """The smallest rank that keeps this share of the squared singular values; at least 1."""
    energy = values.square().cumsum(0)
    return int((energy < share * energy[-1] * (1 - 1e-12)).sum()) + 1 if energy[-1] > 0 else 1


def spectrum_of(up: Tensor, down: Tensor) -> Spectrum:
    """Of the product (O, R) @ (R, I), without forming it."""
    q_up, r_up = torch.linalg.qr(up)
    q_down, r_down = torch.linalg.qr(down.T)
    u, values, v = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
    return q_up @ u, values, v @ q_down.T


def spectrum_of_whole(matrix_OI: Tensor, rank: int) -> Spectrum:
    """The largest singular values of a matrix, `rank` of them and a few more; the same every time."""
    num_columns = 2 * rank + OVERSAMPLING
    if min(matrix_OI.shape) <= max(EXACT_UP_TO, num_columns):
        u, values, v = torch.linalg.svd(matrix_OI, full_matrices=False)
        return u, values, v
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(matrix_OI.shape[1], num_columns, generator=generator, dtype=matrix_OI.dtype)
    basis = torch.linalg.qr(matrix_OI @ probes).Q
    for _ in range(NUM_POWERS):
        basis = torch.linalg.qr(matrix_OI @ torch.linalg.qr(matrix_OI.T @ basis).Q).Q
    u, values, v = torch.linalg.svd(basis.T @ matrix_OI, full_matrices=False)
    return basis @ u, values, v


def cut(
    spectrum: Spectrum, rank: int, *, shape: Sequence[int], dtype: torch.dtype, energy: float | None = None
) -> tuple[Factors, float]:
    """Factors of that rank, and the share of `energy` that they keep (not given: of all that the spectrum holds)."""
    u, values, v = spectrum
    rank = max(1, min(rank, len(values)))
    total = float(values.square().sum()) if energy is None else energy
    root = values[:rank].sqrt()
    up, down = (u[:, :rank] * root).to(dtype), (root[:, None] * v[:rank]).to(dtype)
    up = up[..., None, None] if len(shape) == 4 else up
    kept = float(values[:rank].square().sum()) / total if total > 0 else 1.0
    return Factors(down.reshape(rank, *shape[1:]).contiguous(), up.contiguous(), float(rank)), min(kept, 1.0)


def extracted(differences: Iterable[tuple[str, Tensor]], *, rank: int) -> Iterator[tuple[str, Factors, float]]:
    """(Layer, difference of its weights) -> its update of that rank and the share kept; layers without a difference give none."""
    for name, difference in differences:
        matrix = difference.double().flatten(1)
        energy = float(matrix.square().sum())
        if energy > 0:
            spectrum = spectrum_of_whole(matrix, rank)
            yield name, *cut(spectrum, rank, shape=difference.shape, dtype=torch.float32, energy=energy)


def _joined(there: Sequence[tuple[Factors, float]], name: str, *, total: float) -> Factors:
    """Side by side: the sum of the products, exactly."""
    if len(there) == 1 and there[0][1] == 1:
        return there[0][0].folded()
    ups = [factors.folded().up if weight == 1 else factors.folded().up.float() * weight for factors, weight in there]
    up, down = torch.cat(ups, dim=1), torch.cat([factors.down for factors, _ in there])
    dtype = torch.promote_types(up.dtype, down.dtype)
    return Factors(down.to(dtype), up.to(dtype), float(down.shape[0]))


def _averaged(there: Sequence[tuple[Factors, float]], name: str, *, total: float) -> Factors:
    """`down` averaged and `up` added up, both by weight."""
    if len({factors.rank for factors, _ in there}) > 1 or total <= 0:
        raise BadFile(f"{name}: factors are averaged where all have one rank and the weights' sum is positive; choose method=svd")
    down = sum((factors.down.float() * (weight / total) for factors, weight in there), torch.zeros(()))
    up = sum((factors.folded().up.float() * weight for factors, weight in there), torch.zeros(()))
    return Factors(down, up, float(there[0][0].rank))
