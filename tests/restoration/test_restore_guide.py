"""docs/restore.md is true: its commands run, one after another, on a miniature."""

import re
import shlex
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel
from PIL import Image
from restoration.phantoms import head, k_space, picture

from aquatint.cli import run

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "restore.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL) for line in block.splitlines()]


def test_its_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    DDPMPipeline(unet=unet, scheduler=DDIMScheduler()).save_pretrained("scans")
    values = (picture(head(1), 16).clip(0, 1) * 255).astype("uint8")
    Image.fromarray(values).save("photo.png")
    Image.fromarray(values).resize((4, 4)).save("little.png")
    Image.new("L", (16, 16), 0).save("mask.png")
    np.save("scan.npy", np.fft.fftshift(k_space(head(1), 16)))
    assert len(LINES) == 6
    for line in LINES:
        arguments = [word for word in shlex.split(line)[1:] if not word.startswith("samples=")]
        assert run([*arguments, "steps=2", "samples=2", "cpu=true"]) == 0, line
    assert len([*Path("restored").glob("*/mean.png")]) == 6
