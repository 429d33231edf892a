"""Every draw is a function of (seed, step, slot, purpose) and of nothing else (R38)."""

import math

import pytest
import torch

from aquatint.core.randomness import SampleRandom, key


def test_keys_are_the_same_on_every_machine_and_differ_by_every_part():
    assert key(42, 7, 3, "noise") == 5779186773025001826  # of b2sum -l 64, without its last bit
    assert 0 <= key(0) < 2**63
    assert len({key(s, t, slot, p) for s in range(4) for t in range(4) for slot in range(4) for p in "ab"}) == 128
    assert key(1, 11) != key(11, 1) != key(1, "1/1")


@pytest.mark.parametrize("sizes", [(6,), (1,) * 6, (2, 4), (3, 3), (5, 1)])
def test_the_split_into_micro_batches_changes_no_number(sizes):
    whole = SampleRandom(5, 17, range(6))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [SampleRandom(5, 17, range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    assert torch.equal(torch.cat([p.normal("noise", (4, 3, 2)) for p in parts]), whole.normal("noise", (4, 3, 2)))
    assert torch.equal(torch.cat([p.uniform("time") for p in parts]), whole.uniform("time"))


def test_the_order_of_asking_and_the_global_generator_change_no_number():
    first = SampleRandom(1, 2, [3])
    torch.manual_seed(0)
    time_then_noise = first.uniform("time"), first.normal("noise", (8,))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    noise, time = first.normal("noise", (8,)), first.uniform("time")
    assert torch.equal(time_then_noise[0], time)
    assert torch.equal(time_then_noise[1], noise)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("other", [SampleRandom(1, 0, [0]), SampleRandom(0, 1, [0]), SampleRandom(0, 0, [1])])
def test_another_seed_step_or_slot_gives_other_numbers(other):
    assert not torch.equal(SampleRandom(0, 0, [0]).normal("noise", (4,)), other.normal("noise", (4,)))


def test_another_purpose_gives_other_numbers():
    random = SampleRandom(0, 0, [0])
    assert not torch.equal(random.normal("noise", (4,)), random.normal("posterior", (4,)))


def test_normal_values_have_the_moments_of_a_normal_distribution():
    values = SampleRandom(9, 1, range(200)).normal("noise", (500,)).double()
    num = values.numel()
    moments = [values.mean(), values.square().mean(), values.pow(3).mean(), values.pow(4).mean()]
    deviations = [math.sqrt(v / num) for v in (1, 2, 15, 96)]  # of the sample moments
    for moment, expected, deviation in zip(moments, (0, 1, 0, 3), deviations, strict=True):
        assert abs(moment.item() - expected) < 4 * deviation


def test_uniform_values_are_uniform_and_slots_independent():
    values = torch.stack([SampleRandom(9, step, range(2)).uniform("time") for step in range(4000)]).double()
    assert 0 <= values.min() < 0.002
    assert 0.998 < values.max() < 1
    ordered = values.flatten().sort().values
    distance = (ordered - torch.arange(len(ordered)) / len(ordered)).abs().max()
    assert distance < 1.63 / math.sqrt(len(ordered))  # Kolmogorov and Smirnov, 1 %
    assert abs(torch.corrcoef(values.T)[0, 1]) < 4 / math.sqrt(len(values))
