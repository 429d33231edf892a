"""The models that restoration is proved with: `python tests/restoration/teach.py OUT [small]`.

A DDPM of one channel, taught phantoms from the beginning and then tuned on phantoms and real slices, both by `aquatint train`. About
40 minutes on one core; `small` is the one in `base/`, of 24 px and phantoms alone.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from restoration.phantoms import head, picture
from restoration.slices import SIDE_PX, as_image, write_phantoms, write_real

from aquatint.commands import train
from aquatint.training.settings import Train

QUICK = ("samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0", "prior.num=0")
SMALL_PX = 24


@dataclass(frozen=True)
class Size:
    side_px: int
    widths: tuple[int, int, int]


LARGE, SMALL = Size(SIDE_PX, (32, 64, 96)), Size(SMALL_PX, (16, 32, 48))


def untaught(folder: Path, size: Size) -> Path:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=size.side_px, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=size.widths, norm_num_groups=8,
        attention_head_dim=8, down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
    return folder


def taught(out: Path, *, data: Path, base: Path, steps: int, lr: float) -> Path:
    given = [f"data={data}", f"base={base}", f"out={out}", f"steps={steps}", f"lr={lr}", "ema=0.998", "method=full", "batch_size=16"]
    list(train.run(Train.read([*given, *QUICK])))
    return out / "model"


def large(out: Path) -> Path:
    first = taught(out / "first", data=write_phantoms(out / "phantoms", 3000), base=untaught(out / "untaught", LARGE), steps=3000, lr=1e-3)
    mixed = write_real(out / "mixed", 25)
    for path in sorted((out / "phantoms").glob("*.png"))[:700]:
        (mixed / path.name).write_bytes(path.read_bytes())
    return taught(out / "second", data=mixed, base=first, steps=2000, lr=5e-4)


def small(out: Path) -> Path:
    """Written in half precision."""
    from diffusers import DDPMPipeline

    data = out / "phantoms"
    data.mkdir(parents=True)
    for seed in range(3000):
        as_image(picture(head(seed), SMALL_PX)).save(data / f"phantom-{seed:05}.png")
    model = taught(out / "run", data=data, base=untaught(out / "untaught", SMALL), steps=4000, lr=1.5e-3)
    DDPMPipeline.from_pretrained(model, dtype=torch.float16).save_pretrained(out / "base")
    return out / "base"


if __name__ == "__main__":
    print((small if sys.argv[2:] == ["small"] else large)(Path(sys.argv[1])))
