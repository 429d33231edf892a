"""Put the finished parts into the package, in half precision: `python pocket/assemble.py PARTS_DIR RUN_DIR MODELS_DIR`.

Writes MODELS_DIR/pocket (a Stable Diffusion folder), MODELS_DIR/world (who judges: CLIP, judge, world.json) and
MODELS_DIR/demo (the two picture sets).
"""

import json
import shutil
import sys
from pathlib import Path

import draw_demo
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from things import HELD_OUT, TRAINED
from transformers import CLIPModel
from world import PLACES, plain_caption

from aquatint.evaluation.judge import load_judge

LIMIT_BYTES = 45 * 10**6


def write_pocket(parts_dir: Path, run_dir: Path, *, out_dir: Path) -> None:
    """The run's model with the newest autoencoder (its decoder may have been trained on)."""
    pipeline = StableDiffusionPipeline.from_pretrained(run_dir / "model", dtype=torch.float32, safety_checker=None)
    pipeline.register_modules(vae=AutoencoderKL.from_pretrained(parts_dir / "vae"))
    pipeline.to(dtype=torch.float16).save_pretrained(out_dir)


def write_world(parts_dir: Path, out_dir: Path) -> None:
    load_judge(parts_dir / "judge").half().save(out_dir / "judge")
    shutil.copytree(parts_dir / "clip", out_dir / "clip", dirs_exist_ok=True)
    CLIPModel.from_pretrained(parts_dir / "clip", dtype=torch.float32).to(torch.float16).save_pretrained(out_dir / "clip")
    some_place = next(iter(PLACES))
    phrases = [plain_caption(thing, some_place).removesuffix(f" {some_place}") for thing in TRAINED]
    facts = {"trained": list(TRAINED), "trained_phrases": phrases, "held_out": list(HELD_OUT), "places": list(PLACES)}
    (out_dir / "world.json").write_text(json.dumps(facts, indent=1))


def main(parts_dir: Path, run_dir: Path, *, models_dir: Path) -> None:
    write_pocket(parts_dir, run_dir, out_dir=models_dir / "pocket")
    write_world(parts_dir, models_dir / "world")
    draw_demo.subject("peacock", models_dir / "demo" / "subject")
    draw_demo.style(models_dir / "demo" / "style")
    size = sum(path.stat().st_size for path in models_dir.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB")
    if size > LIMIT_BYTES:
        raise SystemExit(f"more than {LIMIT_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), models_dir=Path(sys.argv[3]))
