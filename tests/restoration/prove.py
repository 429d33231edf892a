"""What restoration is worth: `python tests/restoration/prove.py MODEL OUT [NUM [METHOD]]` writes the table of docs/restore.md.

MODEL is a run or base of squares of 48 px, taught as `docs/restore.md` tells. Held-out pictures, none of which anything was chosen on.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from restoration.baselines import WEIGHTS, bicubic, mean_filled, scores, total_variation
from restoration.slices import SIDE_PX, phantoms, real

import aquatint
from aquatint.commands.restore import FRESH_NOISE
from aquatint.core.operators import Averaged, Masked, Sampled, lines
from aquatint.core.request import Request
from aquatint.evaluation.statistics import bootstrap
from aquatint.families._samplers import switch
from aquatint.generation.sampling import walk
from aquatint.guidance._degradations import Given
from aquatint.guidance.measurement import Fit

Array = NDArray[np.float64]
NUM_SAMPLES, NUM_STEPS, ACCELERATION, FACTOR = 8, 50, 4.0, 4
TASKS = ("mri", "inpaint", "superres")


@dataclass(frozen=True)
class Result:
    """Of one picture by one way: its scores, and what it looks like."""

    psnr: float
    ssim: float
    picture: Array
    spread: Array | None = None
    rank_correlation: float = float("nan")


def given(task: str, truth: Array, *, index: int) -> Given:
    """The measurement of a picture in [0, 1]; lines and holes differ from picture to picture."""
    x = torch.from_numpy(truth)[None, None] * 2 - 1
    if task == "mri":
        operator = Sampled(lines((SIDE_PX, SIDE_PX), acceleration=ACCELERATION, centre=0.08, seed=index))
    elif task == "inpaint":
        operator = Masked(torch.from_numpy(~hole(index))[None, None].double())
    else:
        operator = Averaged(FACTOR)
    return Given(operator, operator.forward(x), (SIDE_PX, SIDE_PX))


def hole(index: int) -> NDArray[np.bool_]:
    """A square of 14 pixels somewhere near the middle."""
    random = np.random.default_rng(index)
    top, left = random.integers(10, SIDE_PX - 24, 2)
    found = np.zeros((SIDE_PX, SIDE_PX), dtype=bool)
    found[top : top + 14, left : left + 14] = True
    return found


def simple_ways(task: str, weight: float) -> Mapping[str, Callable[[Given, Array, int], Array]]:
    """Without a model."""
    ways: dict[str, dict[str, Callable[[Given, Array, int], Array]]] = {
        "mri": {"zero-filling": lambda given, truth, index: _grey(given.simple)},
        "inpaint": {"mean-fill": lambda given, truth, index: mean_filled(truth, ~hole(index))},
        "superres": {"bicubic": lambda given, truth, index: bicubic(_grey(given.y), SIDE_PX)},
    }
    tv = {"total variation": lambda given, truth, index: _grey(total_variation(given.operator, given.y, weight=weight))}
    return {**ways[task], **tv}


def best_weight(task: str, taught: Sequence[Array]) -> float:
    def mean_psnr(weight: float) -> float:
        way = simple_ways(task, weight)["total variation"]
        return float(np.mean([scores(way(given(task, truth, index=i), truth, i), truth)[0] for i, truth in enumerate(taught)]))

    return max(WEIGHTS, key=mean_psnr)


def by_model(model: aquatint.Model, task: str, *, truths: Sequence[Array], method: str) -> list[Result]:
    """The mean of the samples, and how well their spread tells the error."""
    switch(model.bundle, FRESH_NOISE)
    results = []
    for index, truth in enumerate(truths):
        unknown = hole(index) if task == "inpaint" else np.ones_like(truth, dtype=bool)
        fit = Fit(given(task, truth, index=index), 0.0, method, 3)  # type: ignore[arg-type]
        requests = [Request("", 100 * index + seed, num_steps=NUM_STEPS) for seed in range(NUM_SAMPLES)]
        *_, last = walk(model.bundle, requests, guidances=[fit])
        samples = ((last.x_0_BCHW[:, 0].double() + 1) / 2).numpy()
        mean, spread = samples.mean(0), samples.std(0, ddof=1)
        results.append(Result(*scores(mean, truth), mean, spread, _rank_correlation(spread[unknown], np.abs(mean - truth)[unknown])))
    return results


def table(model: aquatint.Model, num: int, *, method: str) -> Iterator[tuple[str, str, str, list[Result]]]:
    """(task, kind of picture, way, results)."""
    kinds = {
        "phantoms": (list(phantoms(12)), list(phantoms(num, is_held_out=True))),
        "real slices": (list(real())[::3], list(real(is_held_out=True))[:num]),
    }
    for task in TASKS:
        for kind, (taught, held_out) in kinds.items():
            weight = best_weight(task, taught)
            for name, way in simple_ways(task, weight).items():
                pictures = [way(given(task, truth, index=i), truth, i) for i, truth in enumerate(held_out)]
                yield task, kind, name, [Result(*scores(each, truth), each) for each, truth in zip(pictures, held_out, strict=True)]
            yield task, kind, "model", by_model(model, task, truths=held_out, method=method)


def main(source: str, out_dir: Path, *, num: int, method: str) -> None:
    model = aquatint.load(source, cpu=True)
    out_dir.mkdir(parents=True, exist_ok=True)
    shown: dict[tuple[str, str, str], list[Result]] = {}
    for task, kind, name, results in table(model, num, method=method):
        shown[task, kind, name] = results
        print(task, kind, name, interval([each.psnr for each in results], ".1f"), flush=True)
    rows = ["| | | | PSNR, dB | SSIM | the model over it: PSNR | SSIM | spread and error |", "|---|---|---|---|---|---|---|---|"]
    rows += [f"| {task} | {kind}, {len(results)} | {name} | {' | '.join(cells(results, shown[task, kind, 'model']))} |"
             for (task, kind, name), results in shown.items()]  # fmt: skip
    (out_dir / "restore.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    picture(shown).save(out_dir / "restore.png")


def cells(results: Sequence[Result], model: Sequence[Result]) -> list[str]:
    """Means, and how much better the model is on the same pictures; of the model itself the rank correlation of spread and error."""
    told = [interval([each.psnr for each in results], ".1f"), interval([each.ssim for each in results], ".3f")]
    if results is model:
        return [*told, "", "", interval([each.rank_correlation for each in results], ".2f")]
    better = [(mine.psnr - its.psnr, mine.ssim - its.ssim) for mine, its in zip(model, results, strict=True)]
    return [*told, *(interval(values, form) for values, form in zip(zip(*better, strict=True), ("+.1f", "+.3f"), strict=True)), ""]


def picture(shown: Mapping[tuple[str, str, str], Sequence[Result]]) -> Image.Image:
    """A row for each task and kind: truth, the simple ways, the model, its spread."""
    from aquatint.generation.sheet import sheet

    truths = {"phantoms": next(iter(phantoms(1, is_held_out=True))), "real slices": next(iter(real(is_held_out=True)))}
    rows, titles = [], []
    for task in TASKS:
        for kind, truth in truths.items():
            results = [value[0] for (t, k, _), value in shown.items() if (t, k) == (task, kind)]
            spread = results[-1].spread
            assert spread is not None
            rows.append([_image(each) for each in (truth, *(result.picture for result in results), spread / spread.max())])
            titles.append(f"{task}, {kind}")
    return sheet(rows, row_titles=titles, column_titles=["truth", "simple", "total variation", "model: mean", "model: unsure"], cell_px=96)


def interval(values: Sequence[float], form: str) -> str:
    low, mean, high = bootstrap([value for value in values if not np.isnan(value)])
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def _rank_correlation(a: Array, b: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def _grey(x: torch.Tensor) -> Array:
    """(1, 1, H, W) in [-1, 1] -> (H, W) in [0, 1]."""
    return ((x[0, 0].double() + 1) / 2).numpy()


def _image(values: Array) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).round().astype("uint8"))


if __name__ == "__main__":
    given_num, given_method = dict(enumerate(sys.argv)).get(3, "15"), dict(enumerate(sys.argv)).get(4, "ddnm")
    main(sys.argv[1], Path(sys.argv[2]), num=int(given_num), method=given_method)
