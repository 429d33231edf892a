"""What holds of every batch plan, whatever the pictures, the batch and the machine. R16, R38, R57."""

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aquatint.data.buckets import samples
from aquatint.data.places import File
from aquatint.data.plan import BatchPlan, MicroPlan
from aquatint.data.records import ImageRecord
from aquatint.data.settings import Images

BUCKETS = st.lists(st.integers(-3, 4), min_size=1, max_size=60)
SMALL = st.integers(1, 4)
SHAPE = st.fixed_dictionaries({"batch_size": SMALL, "accumulate": SMALL, "repeats": SMALL, "seed": st.integers(0, 3)})


def ranks(buckets: list[int], num_processes: int, **options: Any) -> list[BatchPlan]:
    return [BatchPlan(buckets, num_processes=num_processes, rank=rank, **options) for rank in range(num_processes)]


def real(micros: list[MicroPlan]) -> list[tuple[int, int, int]]:
    """(slot, record, pass) of a step's samples, padding left out, by slot."""
    samples = chain.from_iterable(zip(m.slots, m.indices, m.epoch_of_each, m.weights, strict=True) for m in micros)
    return sorted((slot, index, shown) for slot, index, shown, weight in samples if weight)


@given(BUCKETS, SHAPE, SMALL, st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_an_epoch_shows_every_record_repeats_times(buckets: list[int], shape: dict[str, int], num_processes: int, epoch: int) -> None:
    plans, repeats = ranks(buckets, num_processes, **shape), shape["repeats"]
    steps = plans[0].steps_per_epoch
    shown: list[tuple[int, int]] = []
    for step in range(epoch * steps, (epoch + 1) * steps):
        shown += [(index, times) for _, index, times in real(list(chain.from_iterable(plan.plan(step) for plan in plans)))]
    passes = range(epoch * repeats, (epoch + 1) * repeats)
    assert Counter(index for index, _ in shown) == dict.fromkeys(range(len(buckets)), repeats)
    assert Counter(shown) == {(index, times): 1 for index in range(len(buckets)) for times in passes}


@given(BUCKETS, SHAPE, SMALL)
@settings(max_examples=100, deadline=None)
def test_steps_are_announced_by_counting(buckets: list[int], shape: dict[str, int], num_processes: int) -> None:
    """A bucket needs its samples divided by the global batch, rounded up; no step is empty and none is missing."""
    whole = shape["batch_size"] * shape["accumulate"] * num_processes
    expected = sum(-(-count * shape["repeats"] // whole) for count in Counter(buckets).values())
    plan = ranks(buckets, num_processes, **shape)[-1]
    assert plan.steps_per_epoch == expected
    assert plan.global_batch_size == whole


@given(BUCKETS, SHAPE, SMALL, st.data())
@settings(max_examples=150, deadline=None)
def test_micro_batches_are_of_one_bucket_equally_many_and_never_empty(
    buckets: list[int], shape: dict[str, int], num_processes: int, data: st.DataObject
) -> None:
    plans = ranks(buckets, num_processes, **shape)
    step = data.draw(st.integers(0, 3 * plans[0].steps_per_epoch))
    by_rank = [plan.plan(step) for plan in plans]
    micros = list(chain.from_iterable(by_rank))
    assert len({len(own) for own in by_rank}) == 1
    assert 1 <= len(by_rank[0]) <= shape["accumulate"]
    assert all(1 <= len(micro.indices) <= shape["batch_size"] for micro in micros)
    assert len({buckets[index] for micro in micros for index in micro.indices}) == 1
    slots = list(chain.from_iterable(micro.slots for micro in micros))
    assert len(set(slots)) == len(slots)


@given(BUCKETS, SHAPE, SMALL, st.data())
@settings(max_examples=100, deadline=None)
def test_padding_weighs_nothing_and_the_total_is_that_of_average_samples(
    buckets: list[int], shape: dict[str, int], num_processes: int, data: st.DataObject
) -> None:
    own = data.draw(st.lists(st.integers(1, 8), min_size=len(buckets), max_size=len(buckets)))
    plans = ranks(buckets, num_processes, weights=own, **shape)
    for step in range(plans[0].steps_per_epoch):
        micros = list(chain.from_iterable(plan.plan(step) for plan in plans))
        samples = real(micros)
        assert [slot for slot, _, _ in samples] == list(range(len(samples)))
        assert {micro.total_weight for micro in micros} == {len(samples) * (sum(own) / len(own))}
        for micro in micros:
            is_padding = micro.slots[0] >= len(samples)
            assert micro.weights == ((0.0,) if is_padding else tuple(own[index] for index in micro.indices))


@given(BUCKETS, SHAPE, SMALL)
@settings(max_examples=100, deadline=None)
def test_all_processes_together_are_one(buckets: list[int], shape: dict[str, int], num_processes: int) -> None:
    """Whatever the split, the same records lie in the same slots as in a single forward pass of the whole batch."""
    parts = ranks(buckets, num_processes, **shape)
    whole = BatchPlan(buckets, batch_size=parts[0].global_batch_size, repeats=shape["repeats"], seed=shape["seed"])
    assert {plan.steps_per_epoch for plan in parts} == {whole.steps_per_epoch}
    for step in range(2 * whole.steps_per_epoch):
        assert real(list(chain.from_iterable(plan.plan(step) for plan in parts))) == real(list(whole.plan(step)))


@given(BUCKETS, SHAPE, SMALL, st.data())
@settings(max_examples=60, deadline=None)
def test_a_plan_goes_on_from_any_step(buckets: list[int], shape: dict[str, int], num_processes: int, data: st.DataObject) -> None:
    unbroken = ranks(buckets, num_processes, **shape)[-1]
    last = 2 * unbroken.steps_per_epoch
    steps = [unbroken.plan(step) for step in range(last)]
    begun = data.draw(st.integers(0, last - 1))
    resumed = ranks(list(buckets), num_processes, **shape)[-1]
    assert [resumed.plan(step) for step in range(begun, last)] == steps[begun:]
    assert resumed(begun) == steps[begun]


def recorded(name: str, size: tuple[int, int], *, repeats: int) -> ImageRecord:
    return ImageRecord(File(Path("a.png")), name, "", *size, "0", repeats=repeats)


RECORD = st.tuples(st.integers(16, 400), st.integers(16, 400), st.integers(1, 4))


@given(st.lists(RECORD, min_size=1, max_size=12), SHAPE, SMALL, st.booleans())
@settings(max_examples=60, deadline=None)
def test_records_with_repeats_at_several_sizes(
    pictures: list[tuple[int, int, int]], shape: dict[str, int], num_processes: int, buckets: bool
) -> None:
    """Records to samples to plan: each record is shown its own repeats times the run's, at each size, no two sizes together."""
    records = [recorded(str(number), (width, height), repeats=repeats) for number, (width, height, repeats) in enumerate(pictures)]
    shown = samples(records, Images(resolution=(64, 128, 192), buckets=buckets), resolution=64, multiple=8)
    numbers = {size: number for number, size in enumerate({each.size for each in shown})}
    plans = ranks([numbers[each.size] for each in shown], num_processes, **shape)
    seen: Counter[tuple[int, tuple[int, int]]] = Counter()
    for step in range(plans[0].steps_per_epoch):
        together = [shown[index] for _, index, _ in real(list(chain.from_iterable(plan.plan(step) for plan in plans)))]
        assert len({each.size for each in together}) == 1
        seen.update((each.record, each.size) for each in together)
    assert seen == {(each.record, each.size): records[each.record].repeats * shape["repeats"] for each in shown}
    assert {record for record, _ in seen} == set(range(len(records)))
    for record, (width, height, _) in enumerate(pictures):
        sizes = [size for number, size in seen if number == record]
        enlarged = [max(size[0] / width, size[1] / height) for size in sorted(sizes, key=lambda size: size[0] * size[1])]
        assert all(factor <= 1.5 for factor in enlarged[1:])
