"""Measure a model of the pocket world: `python pocket/measure.py MODEL_DIR JUDGE_DIR OUT_DIR`.

Prints the shares of pictures with the right place and the right thing, and the autoencoder's PSNR; writes a sheet of the first pictures.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from drawn import draw_many, to_tensor
from PIL import Image
from things import TRAINED
from torch import Tensor
from train_autoencoder import psnr
from world import PLACES, SIDE_PX, plain_caption

from aquatint.core.randomness import key
from aquatint.evaluation.judge import Judge, load_judge, right

BATCH, SHEET_SIDE = 32, 8
Pair = tuple[str, str]
"""A thing and a place."""


def draw_pairs(count: int, *, seed: int) -> list[Pair]:
    """Different pairs while there are any."""
    rng, pairs = random.Random(seed), [(thing, place) for thing in TRAINED for place in PLACES]
    return [pair for _ in range(-(-count // len(pairs))) for pair in rng.sample(pairs, len(pairs))][:count]


def sample(pipeline: StableDiffusionPipeline, prompts: Sequence[str], *, seed: int, num_steps: int, scale: float) -> Tensor:
    """Pictures in [-1, 1], (N, 3, 64, 64); each has noise of its own, whatever the batch."""
    parts = []
    for start in range(0, len(prompts), BATCH):
        part = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(key(seed, start + i)) for i in range(len(part))]
        with torch.autocast("cpu", torch.bfloat16):
            drawn = pipeline(part, num_inference_steps=num_steps, guidance_scale=scale, generator=generators, output_type="pt").images
        parts.append(drawn.float() * 2 - 1)
        print(f"{start + len(part)} of {len(prompts)} pictures", flush=True)
    return torch.cat(parts)


def write_sheet(pixels: Tensor, pairs: Sequence[Pair], *, judge: Judge, path: Path) -> None:
    """The first 64 pictures, row by row, and beside them a list: caption, and what the judge saw where it saw something else."""
    sheet = Image.new("RGB", (SHEET_SIDE * SIDE_PX,) * 2)
    seen = [logits.argmax(1).tolist() for logits in judge.classify(pixels)]
    lines = []
    for index, (thing, place) in enumerate(pairs[: SHEET_SIDE**2]):
        levels = ((pixels[index].clamp(-1, 1) + 1) * 127.5).round().byte()
        row, column = divmod(index, SHEET_SIDE)
        sheet.paste(Image.fromarray(levels.permute(1, 2, 0).numpy()), (column * SIDE_PX, row * SIDE_PX))
        wrong = [name for name, own in ((judge.things[seen[0][index]], thing), (judge.places[seen[1][index]], place)) if name != own]
        lines.append(f"{row + 1},{column + 1}  {plain_caption(thing, place)}" + (f"   (seen: {', '.join(wrong)})" if wrong else ""))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(path)
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def main(options: argparse.Namespace) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(options.model_dir, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    fresh = draw_many(512, things=list(TRAINED), seed="measure")
    print(f"autoencoder PSNR {psnr(pipeline.vae, to_tensor(fresh.pixels_NHWC)):.2f} dB", flush=True)
    pairs, judge = draw_pairs(options.num, seed=options.seed), load_judge(options.judge_dir)
    prompts = [plain_caption(*pair) for pair in pairs]
    pixels = sample(pipeline, prompts, seed=options.seed, num_steps=options.steps, scale=options.scale)
    is_thing, is_place = right(judge, pixels, things=[thing for thing, _ in pairs], places=[place for _, place in pairs])
    print(f"place right {is_place.float().mean():.3f}, right thing {is_thing.float().mean():.3f} of {len(pairs)}")
    missed = Counter(thing for (thing, _), is_right in zip(pairs, is_thing.tolist(), strict=True) if not is_right)
    print("things most often missed:", ", ".join(f"{thing} ({count})" for thing, count in missed.most_common(12)) or "none")
    options.out_dir.mkdir(parents=True, exist_ok=True)
    write_sheet(pixels, pairs, judge=judge, path=options.out_dir / "sheet.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model_dir", "judge_dir", "out_dir"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--num", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--scale", type=float, default=4.5)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
