"""Plans by hand: order, repeats, weights, small sets, and what is refused. What holds of all plans is in test_plan_properties.py."""

from pathlib import Path

import pytest

from aquatint.data.buckets import samples
from aquatint.data.places import File
from aquatint.data.plan import BatchPlan, derived_repeats
from aquatint.data.records import ImageRecord
from aquatint.data.settings import Images
from aquatint.errors import AquatintError
from aquatint.training.validation import once_each


def ranks(buckets: list[int], *, num_processes: int, **options: int) -> list[BatchPlan]:
    return [BatchPlan(buckets, num_processes=num_processes, rank=rank, **options) for rank in range(num_processes)]


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
        assert micro.total_weight == 3.5  # three samples of 7/6 on average
        assert micro.weights in ((0.0,), ([1.0, 0.5, 2.0][micro.indices[0]],))


def test_weights_count_where_a_batch_holds_one_picture() -> None:
    """What each sample contributes to its step's loss, one at a time: in proportion to its weight, and 1 on average."""
    plan = BatchPlan([0, 1, 2], batch_size=1, weights=[1.0, 0.5, 1.5])
    micros = [plan.plan(step)[0] for step in range(3)]
    assert {micro.indices[0]: micro.weights[0] / micro.total_weight for micro in micros} == {0: 1.0, 1: 0.5, 2: 1.5}


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


def test_validation_measures_each_picture_once() -> None:
    """Two pictures three times each, then two held out, one of them repeated."""
    records = [0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert once_each(records, 6) == [6, 8]
    assert once_each(records[:6], 6) == [0, 3]


def test_repeats_that_no_plan_can_hold_are_refused() -> None:
    record = ImageRecord(File(Path("a.png")), "a.png", "", 64, 64, "0", repeats=10**12)
    with pytest.raises(AquatintError, match=r"1,000,000,000,000 times an epoch"):
        samples([record], Images(), resolution=64, multiple=8)
