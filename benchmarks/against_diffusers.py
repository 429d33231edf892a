"""aquatint and diffusers' `train_text_to_image_lora.py` on the same base, pictures, batch, rank, precision and steps.

python benchmarks/against_diffusers.py SCRIPT [--base FOLDER] [--data FOLDER] [--steps N] [--precision default|fp32|bf16]

SCRIPT is the path of that file (examples/text_to_image in the diffusers repository; it is not part of this one). The
two run in turn, three times each, so that a machine that grows warm or busy slows both; medians are compared. The rate leaves out
start-up, where aquatint encodes every picture once and the script does not; start-up and whole time stand beside it. With
`--precision default` each tool comes as it is: the script in fp32, aquatint in what it measures to be fast.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import record
import transforms_stand_in
from pictures import copy_folder, draw_folder
from timing import Timed, run_timed

BATCH_SIZE, RANK, NUM_PICTURES, LEARNING_RATE, ROUNDS = 8, 16, 32, 1e-4, 3
PRECISIONS = {"default": ("auto", "no"), "fp32": ("fp32", "no"), "bf16": ("bf16", "bf16")}
"""Ours and theirs."""
MAX_SPREAD = 1.1
"""Fastest over slowest round of one tool, above which the machine was not at rest."""


def main() -> None:
    arguments = _arguments()
    record.warn_if_busy()
    is_stand_in = transforms_stand_in.is_missing()
    if is_stand_in:
        print("torchvision is not installed: the script gets benchmarks/transforms_stand_in.py (Pillow and torch) in its place")
    runs: dict[str, list[Timed]] = {"aquatint": [], "diffusers": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder / "data", arguments)
        for number in range(ROUNDS):
            for tool, timed in runs.items():
                timed.append(_run(tool, arguments, folder=folder / f"{tool}-{number}", data=folder / "data"))
                _say(tool, timed[-1])
    rates = {tool: median(timed.steps_per_second for timed in done) for tool, done in runs.items()}
    ratio = rates["aquatint"] / rates["diffusers"]
    for tool, done in runs.items():
        _warn_if_unsteady(tool, [timed.steps_per_second for timed in done])
    print(f"aquatint {rates['aquatint']:.3f} steps/s, diffusers {rates['diffusers']:.3f} steps/s: {ratio:.2f} times as fast")
    shared = {"base": arguments.base, "steps": arguments.steps, "batch_size": BATCH_SIZE, "rank": RANK, "precision": arguments.precision}
    kept = {tool: [asdict(timed) for timed in done] for tool, done in runs.items()}
    print(record.write("against-diffusers", {**shared, "torchvision_stand_in": is_stand_in, "ratio": ratio, "runs": kept}))


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("--base", default="pocket", help="`pocket`, or a diffusers folder")
    parser.add_argument("--data", type=Path, help="captioned pictures, a multiple of eight; not given: drawn")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="default", help="`default`: as each tool comes")
    return parser.parse_args(given)


def _prepare(data: Path, arguments: argparse.Namespace) -> None:
    if arguments.data is None:
        draw_folder(data, num=NUM_PICTURES, side_px=_resolution(arguments.base))
    elif (count := copy_folder(arguments.data, data)) % BATCH_SIZE:
        raise SystemExit(f"{arguments.data} holds {count} pictures; give a multiple of {BATCH_SIZE}, or its last batches are smaller")


def _run(tool: str, arguments: argparse.Namespace, *, folder: Path, data: Path) -> Timed:
    if tool == "aquatint":
        return run_timed("timed_aquatint.py", _ours(arguments, folder=folder, data=data), cache_dir=folder / "cache")
    return run_timed("timed_diffusers.py", _theirs(arguments, folder=folder, data=data), cache_dir=folder / "cache")


def _ours(arguments: argparse.Namespace, *, folder: Path, data: Path) -> Sequence[str]:
    return [
        f"data={data}", f"base={arguments.base}", f"out={folder / 'run'}", f"steps={arguments.steps}", f"batch_size={BATCH_SIZE}",
        f"method.rank={RANK}", f"lr={LEARNING_RATE}", f"precision={PRECISIONS[arguments.precision][0]}", "images.buckets=off",
        "samples.every=0", "validation.every=0", "checkpoints.every=0",
    ]  # fmt: skip


def _theirs(arguments: argparse.Namespace, *, folder: Path, data: Path) -> Sequence[str]:
    from aquatint.families._sources import resolve

    return [
        str(arguments.script), f"--pretrained_model_name_or_path={resolve(arguments.base)}", f"--train_data_dir={data}",
        f"--output_dir={folder}", f"--resolution={_resolution(arguments.base)}", "--center_crop", f"--train_batch_size={BATCH_SIZE}",
        f"--max_train_steps={arguments.steps}", f"--rank={RANK}", f"--learning_rate={LEARNING_RATE}", "--snr_gamma=5.0",
        "--lr_scheduler=cosine", f"--lr_warmup_steps={arguments.steps // 20}", f"--checkpointing_steps={arguments.steps + 1}", "--seed=42",
        f"--mixed_precision={PRECISIONS[arguments.precision][1]}",
    ]  # fmt: skip


def _resolution(base: str) -> int:
    import json

    from aquatint.families._sources import resolve

    folder = Path(resolve(base))
    unet, vae = (json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae"))
    return int(unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1))


def _warn_if_unsteady(tool: str, rates: Sequence[float]) -> None:
    if max(rates) > MAX_SPREAD * min(rates):
        print(f"warning: the rounds of {tool} differ by {max(rates) / min(rates) - 1:.0%}; the ratio below says little")


def _say(tool: str, timed: Timed) -> None:
    print(f"{tool:<10} {timed.steps_per_second:.3f} steps/s, first step after {timed.startup_seconds:.1f} s, ", end="")
    print(f"{timed.total_seconds:.1f} s in all, peak memory {timed.peak_memory_gib:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
