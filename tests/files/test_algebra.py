"""Adapters added, cut and extracted: against the matrices themselves."""

import pytest
import torch

from aquatint.errors import BadFile
from aquatint.export import algebra
from aquatint.export.adapter import Adapter, Factors

SHAPES = {"unet.a": (12, 20), "unet.b": (20, 12), "unet.c": (8, 6, 3, 3), "text_encoder.d": (16, 16)}


def adapter(*, rank=4, alpha=None, seed=0, names=tuple(SHAPES), dtype=torch.float32, architecture="sd1") -> Adapter:
    generator, layers = torch.Generator().manual_seed(seed), {}
    for name in names:
        outputs, *inputs = SHAPES[name]
        down = torch.randn(rank, *inputs, generator=generator).to(dtype)
        up = torch.randn(outputs, rank, *[1] * (len(inputs) - 1), generator=generator).to(dtype)
        layers[name] = Factors(down, up, alpha)
    return Adapter(layers, architecture)


def nearest(matrix, rank):
    u, values, v = torch.linalg.svd(matrix.double().flatten(1), full_matrices=False)
    return ((u[:, :rank] * values[:rank]) @ v[:rank]).view(matrix.shape).float(), values


def test_side_by_side_is_the_weighted_sum_exactly():
    one, two = adapter(alpha=2.0), adapter(rank=3, seed=1, names=("unet.b", "unet.c"))
    made = algebra.merged([one, two], [0.7, -0.4])
    assert made.adapter.layers.keys() == SHAPES.keys()
    assert made.adapter.layers["unet.b"].rank == 7
    assert made.share == 1
    for name, factors in made.adapter.layers.items():
        wanted = 0.7 * one.layers[name].delta() - (0.4 * two.layers[name].delta() if name in two.layers else 0)
        torch.testing.assert_close(factors.delta(), wanted, rtol=1e-5, atol=1e-5)


def test_one_adapter_with_weight_one_is_itself_to_the_bit():
    one = adapter(dtype=torch.bfloat16)
    layers = algebra.merged([one], [1.0]).adapter.layers
    assert layers.keys() == one.layers.keys()
    assert all(torch.equal(layers[n].up, f.up) and torch.equal(layers[n].down, f.down) for n, f in one.layers.items())


def test_formats_of_two_adapters_become_the_wider_one():
    made = algebra.merged([adapter(dtype=torch.float16), adapter(seed=1)], [1.0, 1.0])
    assert {f.up.dtype for f in made.adapter.layers.values()} == {f.down.dtype for f in made.adapter.layers.values()} == {torch.float32}


def test_the_sum_cut_to_a_rank_is_the_nearest_matrix_of_that_rank():
    one, two = adapter(rank=4), adapter(rank=3, seed=1)
    made = algebra.merged([one, two], [1.0, 0.5], method="svd")
    assert made.adapter.ranks == (4,)
    for name, factors in made.adapter.layers.items():
        whole = one.layers[name].delta() + 0.5 * two.layers[name].delta()
        wanted, values = nearest(whole, 4)
        torch.testing.assert_close(factors.delta(), wanted, rtol=1e-4, atol=1e-4)
        assert made.kept[name] == pytest.approx(float(values[:4].square().sum() / values.square().sum()), rel=1e-6)


def test_states_of_one_run_are_averaged_factor_by_factor():
    one, two = adapter(alpha=2.0), adapter(alpha=2.0, seed=1)
    same = algebra.merged([one, one], [0.25, 0.75], method="weight")
    mixed = algebra.merged([one, two], [0.25, 0.75], method="weight")
    for name, factors in one.layers.items():
        torch.testing.assert_close(same.adapter.layers[name].delta(), factors.delta(), rtol=1e-5, atol=1e-5)
        up = 0.25 * factors.up * 0.5 + 0.75 * two.layers[name].up * 0.5
        down = 0.25 * factors.down + 0.75 * two.layers[name].down
        wanted = (up.flatten(1) @ down.flatten(1)).view(factors.shape)
        torch.testing.assert_close(mixed.adapter.layers[name].delta(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 6, 50])
def test_a_resized_adapter_is_the_nearest_of_its_rank(rank):
    one = adapter(rank=6, alpha=3.0)
    made = algebra.reduced(one, lambda values: rank)
    for name, factors in made.adapter.layers.items():
        wanted, values = nearest(one.layers[name].delta(), rank)
        torch.testing.assert_close(factors.delta(), wanted, rtol=1e-4, atol=1e-4)
        assert factors.rank == min(rank, 6)
        assert factors.scale == 1
        assert made.kept[name] == pytest.approx(float(values[:rank].square().sum() / values.square().sum()), rel=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999, 1.0])
def test_the_smallest_rank_that_keeps_a_share(share):
    one = adapter(rank=6)
    made = algebra.reduced(one, lambda values: algebra.rank_for(values, share))
    for name, factors in made.adapter.layers.items():
        energy = nearest(one.layers[name].delta(), 6)[1].square()
        kept = energy.cumsum(0) / energy.sum()
        assert made.kept[name] >= share - 1e-9
        assert factors.rank == 1 or kept[factors.rank - 2] < share


def test_nothing_is_left_of_an_update_of_zero():
    zero = Adapter({"unet.a": Factors(torch.randn(4, 20), torch.zeros(12, 4))}, "sd1")
    made = algebra.reduced(zero, lambda values: algebra.rank_for(values, 0.9))
    assert made.adapter.layers["unet.a"].rank == 1
    assert not made.adapter.layers["unet.a"].delta().any()
    assert made.share == 1


def test_a_difference_of_low_rank_is_found_whole_in_a_large_matrix():
    """Larger than what is decomposed whole, so the randomised range finder does it."""
    generator = torch.Generator().manual_seed(2)
    up, down = torch.randn(400, 5, generator=generator), torch.randn(5, 500, generator=generator)
    ((name, factors, kept),) = algebra.extracted([("unet.a", up @ down), ("unet.b", torch.zeros(400, 500))], rank=5)
    assert name == "unet.a"
    assert kept == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(factors.delta(), up @ down, rtol=1e-4, atol=1e-4)


def test_a_full_difference_is_cut_nearly_as_well_as_can_be():
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(400, 350, generator=generator) @ torch.diag(torch.linspace(1, 0.01, 350) ** 2)
    ((_, factors, kept),) = algebra.extracted([("unet.a", matrix)], rank=16)
    wanted, values = nearest(matrix, 16)
    best = float(values[:16].square().sum() / values.square().sum())
    assert best - 1e-3 < kept <= best + 1e-9
    error, least = (matrix - factors.delta()).norm(), (matrix - wanted).norm()
    assert error < 1.001 * least
    again = next(iter(algebra.extracted([("unet.a", matrix)], rank=16)))[1]
    assert torch.equal(again.up, factors.up)


def test_what_does_not_add_up_is_refused():
    one = adapter()
    dora = Adapter({"unet.a": Factors(torch.ones(1, 20), torch.ones(12, 1), None, torch.ones(12))}, "sd1")
    wide = Adapter({"unet.a": Factors(torch.ones(1, 21), torch.ones(12, 1))}, "sd1")
    with pytest.raises(BadFile, match=r"different architectures: Stable Diffusion 1, FLUX\.1"):
        algebra.merged([one, adapter(architecture="flux")], [1.0, 1.0])
    with pytest.raises(BadFile, match=r"unet.a is \[12, 20\] in one adapter and \[12, 21\]"):
        algebra.merged([one, wide], [1.0, 1.0])
    with pytest.raises(BadFile, match="this is DoRA"):
        algebra.merged([one, dora], [1.0, 1.0])
    with pytest.raises(BadFile, match="this is LoHa"):
        algebra.reduced(Adapter({}, "sd1", others={"unet.a": "LoHa"}), lambda values: 1)
    with pytest.raises(BadFile, match="choose method=svd"):
        algebra.merged([one, adapter(rank=3)], [1.0, 1.0], method="weight")
    with pytest.raises(BadFile, match="weights' sum is positive"):
        algebra.merged([one, one], [1.0, -1.0], method="weight")
