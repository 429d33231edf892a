"""A small model that was taught phantoms restores others that it never saw, better than what knows nothing of heads.

The model lies in `base/`; `python tests/restoration/teach.py OUT small` makes it again. docs/restore.md tells of a larger one, and scans.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from restoration.baselines import bicubic, mean_filled, scores, total_variation
from restoration.phantoms import head, picture
from restoration.slices import HELD_OUT_FROM
from restoration.teach import SMALL_PX
from scipy.stats import spearmanr

import aquatint
from aquatint.commands.restore import FRESH_NOISE
from aquatint.core.operators import Averaged, Masked, Sampled, lines
from aquatint.core.request import Request
from aquatint.families._samplers import switch
from aquatint.generation.sampling import walk
from aquatint.guidance._degradations import Given
from aquatint.guidance.measurement import Fit

NUM, NUM_SAMPLES = 6, 6
TRUTHS = [picture(head(HELD_OUT_FROM + index), SMALL_PX) for index in range(NUM)]
HOLE = np.zeros((SMALL_PX, SMALL_PX), dtype=bool)
HOLE[9:16, 8:15] = True


@pytest.fixture(scope="module")
def model():
    loaded = aquatint.load(Path(__file__).parent / "base", cpu=True)
    switch(loaded.bundle, FRESH_NOISE)
    return loaded


def given(task, index) -> Given:
    operators = {
        "mri": Sampled(lines((SMALL_PX, SMALL_PX), acceleration=4, centre=0.08, seed=index)),
        "inpaint": Masked(torch.from_numpy(~HOLE)[None, None].double()), "superres": Averaged(4),
    }  # fmt: skip
    x = torch.from_numpy(TRUTHS[index])[None, None] * 2 - 1
    return Given(operators[task], operators[task].forward(x), (SMALL_PX, SMALL_PX))


def restored(model, task) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Means and spreads."""
    means, spreads = [], []
    for index in range(NUM):
        requests = [Request("", 10 * index + seed, num_steps=30) for seed in range(NUM_SAMPLES)]
        *_, last = walk(model.bundle, requests, guidances=[Fit(given(task, index), 0.0, "ddnm", 1)])
        samples = ((last.x_0_BCHW[:, 0].double() + 1) / 2).numpy()
        means.append(samples.mean(0))
        spreads.append(samples.std(0, ddof=1))
    return means, spreads


def psnr(pictures) -> float:
    return float(np.mean([scores(found, truth)[0] for found, truth in zip(pictures, TRUTHS, strict=True)]))


def grey(x) -> np.ndarray:
    return ((x[0, 0].double() + 1) / 2).numpy()


def best_variation(task) -> float:
    """By the weight that is best on these very pictures, which is more than anybody could know."""
    measured = [given(task, index) for index in range(NUM)]
    weights = (3e-3, 1e-2, 3e-2, 1e-1)
    return max(psnr([grey(total_variation(each.operator, each.y, weight=weight)) for each in measured]) for weight in weights)


def test_mri_of_one_line_in_four(model):
    means, spreads = restored(model, "mri")
    zero_filled = psnr([grey(given("mri", index).simple) for index in range(NUM)])
    assert psnr(means) > max(zero_filled, best_variation("mri")) + 2
    ranks = [spearmanr(s.ravel(), np.abs(m - t).ravel()).statistic for s, m, t in zip(spreads, means, TRUTHS, strict=True)]
    assert np.mean(ranks) > 0.3


def test_a_hole(model):
    means, _ = restored(model, "inpaint")
    assert psnr(means) > psnr([mean_filled(truth, ~HOLE) for truth in TRUTHS]) + 2
    assert all(np.abs(mean - truth)[~HOLE].max() < 0.02 for mean, truth in zip(means, (t.clip(0, 1) for t in TRUTHS), strict=True))


def test_four_times_as_long(model):
    means, _ = restored(model, "superres")
    assert psnr(means) > psnr([bicubic(grey(given("superres", index).y), SMALL_PX) for index in range(NUM)]) + 1
