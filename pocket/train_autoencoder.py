"""Train pocket's autoencoder on drawn pictures: `python pocket/train_autoencoder.py OUT_DIR [STEPS]`."""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from drawn import Drawn, DrawnBatch, batches, draw_many, to_tensor
from things import TRAINED
from torch import Tensor, nn

from aquatint.core.randomness import SampleRandom
from aquatint.training import checkpoint
from aquatint.training.ema import MovingAverage
from aquatint.training.events import Stepped
from aquatint.training.runtime import Runtime
from aquatint.training.schedules import warmup_cosine
from aquatint.training.trainer import Trainer

BATCH, PEAK_RATE, KL_WEIGHT = 16, 1e-3, 1e-6
SHUFFLED_SHARE = 0.15
"""Of the pictures, those whose colour channels are shuffled and inverted: colours the world does not hold."""


def new_autoencoder() -> AutoencoderKL:
    """Four times smaller on each side, four channels: 12 numbers become 1."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 96), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1, latent_channels=4, norm_num_groups=16, sample_size=64, mid_block_add_attention=False,
    )  # fmt: skip


class ReconstructionLoss(nn.Module):
    """Absolute and squared error of the pixels and of their differences, and a little KL divergence."""

    def __init__(self, autoencoder: AutoencoderKL, drawn: Drawn):
        super().__init__()
        self.autoencoder, self._drawn = autoencoder, drawn

    def forward(self, batch: DrawnBatch, random: SampleRandom) -> Tensor:
        pixels = _recoloured(to_tensor(self._drawn.pixels_NHWC[batch.indices]), random)
        posterior = self.autoencoder.encode(pixels).latent_dist
        eps = random.normal("posterior", posterior.mean.shape[1:])
        made = self.autoencoder.decode(posterior.mean + posterior.std * eps).sample.float()
        error = made - pixels
        edges = error.diff(dim=2).abs().mean((1, 2, 3)) + error.diff(dim=3).abs().mean((1, 2, 3))
        return error.abs().mean((1, 2, 3)) + 2 * error.square().mean((1, 2, 3)) + 0.25 * edges + KL_WEIGHT * posterior.kl().float()


def _recoloured(pixels: Tensor, random: SampleRandom) -> Tensor:
    picked = random.uniform("shuffled") < SHUFFLED_SHARE
    order = int(random.uniform("order")[0] * 2) + 1
    return torch.where(picked[:, None, None, None], -pixels.roll(order, dims=1), pixels)


def psnr(autoencoder: AutoencoderKL, pixels: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of the reconstruction (posterior mean), over all pictures together."""
    with torch.no_grad():
        made = torch.cat([autoencoder.decode(autoencoder.encode(x).latent_dist.mode()).sample for x in pixels.split(64)])
    return float(-10 * torch.log10((made.clamp(-1, 1) - pixels).square().mean() / 4))


def main(out_dir: Path, num_steps: int) -> None:
    torch.manual_seed(0)
    drawn = draw_many(20_000, things=list(TRAINED), seed="autoencoder")
    fresh = to_tensor(draw_many(512, things=list(TRAINED), seed="autoencoder-fresh").pixels_NHWC)
    autoencoder = new_autoencoder()
    parameters = dict(autoencoder.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), PEAK_RATE, weight_decay=0.0, fused=True)
    average = MovingAverage(parameters, 0.998)
    trainer = Trainer(
        ReconstructionLoss(autoencoder, drawn), parameters, optimizer, warmup_cosine(num_steps=num_steps, warmup_steps=100, final=0.01),
        batches(len(drawn.captions), BATCH, seed=0), Runtime(cpu=True), out_dir / "checkpoints", num_steps=num_steps, save_every=500,
        precision=torch.bfloat16, average=average,
    )  # fmt: skip
    newest = checkpoint.newest(out_dir / "checkpoints")
    if newest:
        trainer.restore(checkpoint.load(newest))
    for event in trainer.run():
        if isinstance(event, Stepped) and event.step % 250 == 0:
            with trainer.averaged():
                print(f"{event.step} loss {event.loss:.4f} psnr {psnr(autoencoder, fresh):.2f} dB  {event.seconds:.2f} s", flush=True)
    with trainer.averaged(), torch.no_grad():
        latents = torch.cat([autoencoder.encode(x).latent_dist.mode() for x in to_tensor(drawn.pixels_NHWC[:4096]).split(64)])
        autoencoder.register_to_config(scaling_factor=round(float(1 / latents.std()), 5))
        autoencoder.save_pretrained(out_dir / "vae")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 6000)
