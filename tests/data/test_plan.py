"""Every record exactly `repeats` times an epoch, the same for any split over processes. R16, R38, R57."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquatint.data.plan import BatchPlan, MicroPlan, derived_repeats

BUCKETS = st.lists(st.integers(0, 4), min_size=1, max_size=60)
SMALL = st.integers(1, 4)


def ranks(buckets: list[int], *, num_processes: int, **options: int) -> list[BatchPlan]:
    return [BatchPlan(buckets, num_processes=num_processes, rank=rank, **options) for rank in range(num_processes)]


def real(micros: list[MicroPlan]) -> list[tuple[int, int, int]]:
    """(slot, record, pass) of a step's samples, padding left out, by slot."""
    samples = chain.from_iterable(zip(m.slots, m.indices, m.epoch_of_each, m.weights, strict=True) for m in micros)
    return sorted((slot, index, shown) for slot, index, shown, weight in samples if weight)


@given(BUCKETS, SMALL, SMALL, SMALL, SMALL, st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_an_epoch_shows_every_record_repeats_times(
    buckets: list[int], batch_size: int, accumulate: int, num_processes: int, repeats: int, seed: int, epoch: int
) -> None:
    plans = ranks(buckets, batch_size=batch_size, accumulate=accumulate, num_processes=num_processes, repeats=repeats, seed=seed)
    steps = plans[0].steps_per_epoch
    seen: Counter[int] = Counter()
    passes: Counter[tuple[int, int]] = Counter()
    for step in range(epoch * steps, (epoch + 1) * steps):
        by_rank = [plan.plan(step) for plan in plans]
        assert len({len(micros) for micros in by_rank}) == 1
        assert 1 <= len(by_rank[0]) <= accumulate
        micros = list(chain.from_iterable(by_rank))
        samples = real(micros)
        assert [slot for slot, _, _ in samples] == list(range(len(samples)))
        assert len({buckets[index] for micro in micros for index in micro.indices}) == 1
        assert all(1 <= len(micro.indices) <= batch_size for micro in micros)
        assert all(micro.total_weight == len(samples) for micro in micros)
        seen.update(index for _, index, _ in samples)
        passes.update((index, shown) for _, index, shown in samples)
    assert seen == Counter(dict.fromkeys(range(len(buckets)), repeats))
    assert passes == Counter({(i, p): 1 for i in range(len(buckets)) for p in range(epoch * repeats, (epoch + 1) * repeats)})


SPLITS = [(1, 1, 8), (8, 1, 1), (2, 2, 2), (4, 2, 1), (1, 8, 1), (2, 1, 4), (3, 1, 2), (1, 3, 2)]


@given(BUCKETS, st.sampled_from(SPLITS), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_step_is_the_same_for_every_split(buckets: list[int], split: tuple[int, int, int], repeats: int) -> None:
    batch_size, accumulate, num_processes = split
    whole = BatchPlan(buckets, batch_size=batch_size * accumulate * num_processes, repeats=repeats, seed=5)
    parts = ranks(buckets, batch_size=batch_size, accumulate=accumulate, num_processes=num_processes, repeats=repeats, seed=5)
    assert {plan.steps_per_epoch for plan in parts} == {whole.steps_per_epoch}
    for step in range(2 * whole.steps_per_epoch):
        assert real(list(chain.from_iterable(plan.plan(step) for plan in parts))) == real(list(whole.plan(step)))


def test_a_plan_is_a_pure_function_of_the_step() -> None:
    options = {"batch_size": 3, "repeats": 2, "seed": 1}
    straight = BatchPlan([0] * 7 + [1] * 5, **options)
    forwards = [straight.plan(step) for step in range(30)]
    late = BatchPlan([0] * 7 + [1] * 5, **options)
    assert [late.plan(step) for step in reversed(range(30))] == forwards[::-1]
    assert late(17) == forwards[17]


def test_order_depends_on_epoch_and_seed() -> None:
    plan = BatchPlan([0] * 40 + [1] * 40, batch_size=4, seed=1)
    other = BatchPlan([0] * 40 + [1] * 40, batch_size=4, seed=2)
    epochs = [[plan.plan(step)[0].indices for step in range(start, start + plan.steps_per_epoch)] for start in (0, plan.steps_per_epoch)]
    assert epochs[0] != epochs[1]
    assert [other.plan(step)[0].indices for step in range(plan.steps_per_epoch)] != epochs[0]
    kinds = [indices[0] < 40 for indices in epochs[0]]
    assert kinds != sorted(kinds)
    assert kinds != sorted(kinds, reverse=True)


def test_repeats_are_permutations_end_to_end() -> None:
    plan = BatchPlan([0] * 6, batch_size=1, repeats=3, seed=4)
    shown = sorted((micro.epoch_of_each[0], micro.indices[0]) for micro in (plan.plan(step)[0] for step in range(18)))
    assert shown == [(repeat, index) for repeat in range(3) for index in range(6)]


def test_weights_of_records_and_padding() -> None:
    plans = ranks([0, 0, 0], batch_size=2, accumulate=1, num_processes=4)
    weighted = [BatchPlan([0, 0, 0], batch_size=2, num_processes=4, rank=rank, weights=[1.0, 0.5, 2.0]) for rank in range(4)]
    assert [len(plan.plan(0)) for plan in plans] == [1] * 4
    assert [plan.plan(0)[0].weights for plan in plans] == [(1.0,), (1.0,), (1.0,), (0.0,)]
    for plan in weighted:
        (micro,) = plan.plan(0)
        assert micro.total_weight == 3.5
        assert micro.weights in ((0.0,), ([1.0, 0.5, 2.0][micro.indices[0]],))


def test_small_sets_tile_their_batches() -> None:
    assert derived_repeats(64, 8) == 1
    assert derived_repeats(63, 8) == 8
    for num_records in (1, 3, 5, 7, 13):
        plan = BatchPlan([0] * num_records, batch_size=4, repeats=derived_repeats(num_records, 4))
        assert {len(plan.plan(step)[0].indices) for step in range(plan.steps_per_epoch)} == {4}
        assert plan.steps_per_epoch == num_records


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"batch_size": 1, "rank": 1}, {"batch_size": 1, "weights": [1.0]}, {"batch_size": 1, "weights": [1.0, 0.0]}],
)
def test_wrong_plans_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BatchPlan([0, 0], **wrong)
    with pytest.raises(ValueError, match="no records"):
        BatchPlan([], batch_size=1)
