"""What guidance costs: the time of a step with each, against a step without, and against the passes that it cannot do without.

python benchmarks/guidance.py [--base MODEL] [--times N] [--batch-size N]   (the embedded model, one thread, if nothing is said)

For a gradient through the denoiser those passes are the step as it is drawn without the wish, and a forward and a backward pass through
network, decoder and loss, written out by hand. The rounds of all are interleaved, so that other work on the machine meets them alike.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import record
import torch
from PIL import Image
from torch import Tensor

from aquatint.core.denoising import Scene, fold
from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.generation.sampling import scene_of
from aquatint.guidance.base import Guidance, Wish
from aquatint.guidance.classifier_free import ClassifierFree
from aquatint.recognition import recognise

Call = Callable[[], object]
LEVEL = 0.5
PROMPT = "an owl on a beach"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        rows = compared(arguments.base, Path(folder), times=arguments.times, batch_size=arguments.batch_size)
    for row in rows:
        print("{name:<34} {step_ms:8.0f} ms   {to_plain:5.2f} x a step without   {to_passes:5.2f} x its passes".format(**row), flush=True)
    print(record.write("guidance", {**vars(arguments), "scale": Request.scale, "rows": rows}))


def compared(base: str, folder: Path, *, times: int, batch_size: int) -> list[dict[str, Any]]:
    """A row for each guidance."""
    bundle = recognise(base, "auto").family.load(base).freeze()
    asked = [Request(PROMPT, seed) for seed in range(batch_size)]
    scene = scene_of(bundle, asked, told=bundle.family.conditions(bundle, asked))
    calls: dict[str, tuple[Call, Call]] = {}
    plain = _step(scene, bundle)
    for name, wish in wishes(folder).items():
        calls[name] = _step(scene, bundle, wish), _passes(scene, bundle, wish=wish, plain=plain)
    seconds = _interleaved({"plain": plain, **{f"{name}/{i}": call for name, both in calls.items() for i, call in enumerate(both)}}, times)
    return [_row(name, seconds) for name in calls]


def wishes(folder: Path) -> Mapping[str, Wish]:
    """One of each kind that needs no file of the user's, and the same without the pass through the denoiser."""
    Image.new("RGB", (64, 64), "teal").save(folder / "target.png")
    picture, estimate, likelihood = {"target": folder / "target.png"}, {"through": "estimate"}, {"units": "likelihood"}
    told: dict[str, dict[str, Any]] = {"color": {"target": "teal"}, "image": picture, "symmetry": {}, "clip": {"text": PROMPT}}
    ways = {"": {}, ", through=estimate": estimate, ", units=likelihood": likelihood}
    every = [(kind, way) for way in ways for kind in told if "likelihood" not in way or kind in ("color", "image")]
    return {kind + way: _wish({"kind": kind, **told[kind], **ways[way]}) for kind, way in every}


def _wish(settings: Mapping[str, Any]) -> Wish:
    guidance = Guidance.resolve(settings)
    assert isinstance(guidance, Wish)
    return guidance


def _step(scene: Scene, bundle: Bundle, *guidances: Guidance) -> Call:
    """One call of the denoiser as it is drawn with: prompt and no prompt, then the wish."""
    first = [ClassifierFree(scale=Request.scale)] if scene.both else []
    denoise = fold([*first, *guidances], scene.told, scene=scene)
    x_t, t = _place(scene, bundle)
    return lambda: denoise(x_t, t)


def _passes(scene: Scene, bundle: Bundle, *, wish: Wish, plain: Call) -> Call:
    """The step without the wish, and what the wish's gradient takes, written plainly."""
    losses, is_through = wish.losses(scene), wish.through == "denoiser"
    x_t, t = _place(scene, bundle)

    def passes() -> Tensor:
        said = plain()
        assert isinstance(said, Tensor)
        with torch.enable_grad():
            leaf = x_t.clone().requires_grad_() if is_through else said.requires_grad_()
            x_0 = scene.told(leaf, t) if is_through else leaf
            return torch.autograd.grad(losses(scene.decode(x_0)).sum(), leaf)[0]

    return passes


def _place(scene: Scene, bundle: Bundle) -> tuple[Tensor, Tensor]:
    num, generator = len(scene.seeds), torch.Generator().manual_seed(0)
    return torch.randn(num, *bundle.shape(), generator=generator), torch.full((num,), LEVEL)


@torch.no_grad()
def _interleaved(calls: Mapping[str, Call], times: int) -> dict[str, list[float]]:
    """Seconds of each, round by round; the first round warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    return {name: values[1:] for name, values in seconds.items()}


def _row(name: str, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians; ratios are those of rounds, so that a slow one is slow on both sides."""
    step, passes, plain = seconds[f"{name}/0"], seconds[f"{name}/1"], seconds["plain"]
    to_plain, to_passes = (statistics.median(a / b for a, b in zip(step, other, strict=True)) for other in (plain, passes))
    return {"name": name, "step_ms": statistics.median(step) * 1000, "to_plain": to_plain, "to_passes": to_passes}


if __name__ == "__main__":
    main()
