"""A small DDPM, taught by `aquatint train` alone, and what it draws.

`python tests/learning/unconditional.py FOLDER` makes the one in `base/` again.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from patches import FILES, patches
from PIL import Image

from aquatint.commands import train
from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.generation.drawing import draw
from aquatint.registry import families
from aquatint.training.settings import Train

QUICK = ("samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0", "prior.num=0")


@dataclass(frozen=True)
class Size:
    """Of a model and of its pictures."""

    side_px: int
    widths: tuple[int, ...]
    scale: float
    """Of the photographs that pieces are cut from."""

    def pieces(self, kind: str, num: int, *, part: Sequence[float] = (0.0, 1.0), seed: int = 0) -> list[Image.Image]:
        return patches(kind, num, side_px=self.side_px, part=part, scale=self.scale, seed=seed)

    def untaught(self, folder: Path) -> Path:
        """A DDPM of random weights as a diffusers folder."""
        from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

        torch.manual_seed(0)
        plain = len(self.widths) - 1
        unet = UNet2DModel(
            sample_size=self.side_px, layers_per_block=1, block_out_channels=self.widths, norm_num_groups=8, attention_head_dim=8,
            down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        )  # fmt: skip
        scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
        DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
        return folder

    def folder(self, place: Path, kinds: Sequence[str], *, num: int, part: Sequence[float]) -> Path:
        """`num` pieces of each kind, in folders of that name."""
        for kind in kinds:
            (place / kind).mkdir(parents=True)
            for index, piece in enumerate(self.pieces(kind, num, part=part)):
                piece.save(place / kind / f"{index}.png")
        return place


SMALL, LARGE = Size(16, (16, 32), 0.25), Size(32, (24, 48, 72), 0.5)
NEW = ("brick", "gravel", "stars", "tissue")
OTHERS = tuple(kind for kind in FILES if kind not in NEW)
BASE = Path(__file__).parent / "base"
"""SMALL, taught all kinds but the NEW ones."""


def taught(out: Path, *, data: Path, base: Path, steps: int, lr: float, **settings: object) -> Path:
    """A whole model from a run of `aquatint train`."""
    places, size = {"data": data, "base": base, "out": out}, {"steps": steps, "lr": lr, "batch_size": 16}
    given = {**places, **size, "method": "full", **settings}
    list(train.run(Train.read([*(f"{name}={value}" for name, value in given.items()), *QUICK])))
    shutil.rmtree(out / "checkpoints")
    return out / "model"


def drawn(model: Path, prompts: Sequence[str], *, num_steps: int = 15) -> list[Image.Image]:
    """A picture for each prompt, by the seeds 0, 1, …"""
    bundle: Bundle = families["ddpm"].load(model).freeze()
    requests = [Request(prompt, seed, num_steps=num_steps) for seed, prompt in enumerate(prompts)]
    return list(draw(bundle, requests, batch_size=64))


def main(folder: Path) -> None:
    """About three minutes; in half precision, which is all that its weights are good for."""
    with tempfile.TemporaryDirectory() as aside:
        place = Path(aside)
        data, untaught = SMALL.folder(place / "data", OTHERS, num=256, part=(0, 1)), SMALL.untaught(place / "untaught")
        model = taught(place / "run", data=data, base=untaught, steps=3000, lr=4e-3, ema=0.995, precision="fp32")
        pipeline = families["ddpm"].load(model).pipeline
        pipeline.to(torch.float16).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
