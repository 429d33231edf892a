"""Prior preservation: counts are exact, every split of a step sees the same pictures, weights are what was asked for."""

from collections import Counter

import pytest
import torch

from aquatint.training.prior import Prior, PriorSource, prompts

NUM = 10
PRIOR = Prior([f"p{i}" for i in range(NUM)], [torch.full((1, 1, 2, 2), float(i)) for i in range(NUM)], {})


def seen(step: int, *, batch_size: int, num_micro: int, num_processes: int) -> list[tuple[int, float]]:
    """(slot, value) of every picture of a step, over all processes, in the order of slots."""
    found = []
    for rank in range(num_processes):
        for batch in PriorSource(PRIOR, batch_size, num_micro, rank, num_processes, 0.5, seed=3)(step):
            found += list(zip(batch.slots, batch.encoded.mean_BCHW[:, 0, 0, 0].tolist(), strict=True))
            assert batch.total_weight == batch_size * num_micro * num_processes
            assert batch.weight_B.tolist() == [0.5] * batch_size
    return sorted(found)


@pytest.mark.parametrize("split", [(8, 1, 1), (2, 4, 1), (1, 4, 2), (4, 1, 2), (2, 2, 2)])
def test_every_split_sees_the_same(split: tuple[int, int, int]) -> None:
    batch_size, num_micro, num_processes = split
    for step in (0, 1, 7):
        expected = seen(step, batch_size=8, num_micro=1, num_processes=1)
        assert seen(step, batch_size=batch_size, num_micro=num_micro, num_processes=num_processes) == expected


def test_every_picture_comes_equally_often() -> None:
    shown = Counter(value for step in range(NUM) for _, value in seen(step, batch_size=4, num_micro=1, num_processes=1))
    assert shown == dict.fromkeys(map(float, range(NUM)), 4)


def test_prompts_put_common_words_in_the_triggers_place() -> None:
    made = prompts(["a zwx on a beach", "a red door"], trigger="zwx", words=["fox", "owl"], num=6, seed=1)
    assert len(made) == 6
    assert {text.replace("fox", "W").replace("owl", "W") for text in made} == {"a W on a beach", "a photo of a W"}
    assert made == prompts(["a zwx on a beach", "a red door"], trigger="zwx", words=["fox", "owl"], num=6, seed=1)
    assert not any("zwx" in text for text in made)
