"""Train the autoencoder's decoder on, its encoder as it is: `python pocket/train_decoder.py OUT_DIR [STEPS]`.

The latents stay what they were, so a denoiser trained on them stays good. Rewrites OUT_DIR/vae; keeps the former as OUT_DIR/vae_before.
"""

import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from drawn import Drawn, DrawnBatch, batches, draw_many, to_tensor
from things import TRAINED
from torch import Tensor, nn
from train_autoencoder import psnr

from aquatint.core.randomness import SampleRandom
from aquatint.training import checkpoint
from aquatint.training.ema import MovingAverage
from aquatint.training.events import Stepped
from aquatint.training.runtime import Runtime
from aquatint.training.schedules import warmup_cosine
from aquatint.training.trainer import Trainer

BATCH, PEAK_RATE = 16, 6e-4


class DecodingLoss(nn.Module):
    """Mostly the squared error, which is what PSNR counts; a little of the edges keeps them sharp."""

    def __init__(self, autoencoder: AutoencoderKL, drawn: Drawn):
        super().__init__()
        self.decoder, self.post_quant_conv, self._drawn = autoencoder.decoder, autoencoder.post_quant_conv, drawn
        with torch.no_grad():
            parts = [to_tensor(drawn.pixels_NHWC[i : i + 64]) for i in range(0, len(drawn.captions), 64)]
            posteriors = [autoencoder.encode(part).latent_dist for part in parts]
        self._mean, self._std = torch.cat([p.mean for p in posteriors]), torch.cat([p.std for p in posteriors])

    def forward(self, batch: DrawnBatch, random: SampleRandom) -> Tensor:
        mean, std = self._mean[batch.indices], self._std[batch.indices]
        made = self.decoder(self.post_quant_conv(mean + std * random.normal("posterior", mean.shape[1:]))).float()
        error = made - to_tensor(self._drawn.pixels_NHWC[batch.indices])
        edges = error.diff(dim=2).abs().mean((1, 2, 3)) + error.diff(dim=3).abs().mean((1, 2, 3))
        return 4 * error.square().mean((1, 2, 3)) + 0.1 * error.abs().mean((1, 2, 3)) + 0.05 * edges


def main(out_dir: Path, num_steps: int) -> None:
    torch.manual_seed(0)
    drawn = draw_many(20_000, things=list(TRAINED), seed="decoder")
    fresh = to_tensor(draw_many(512, things=list(TRAINED), seed="autoencoder-fresh").pixels_NHWC)
    autoencoder = AutoencoderKL.from_pretrained(out_dir / "vae").requires_grad_(False)
    loss = DecodingLoss(autoencoder, drawn).requires_grad_(True)
    parameters = dict(loss.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), PEAK_RATE, weight_decay=0.0, fused=True)
    trainer = Trainer(
        loss, parameters, optimizer, warmup_cosine(num_steps=num_steps, warmup_steps=50, final=0.01),
        batches(len(drawn.captions), BATCH, seed=1), Runtime(cpu=True), out_dir / "decoder_checkpoints",
        num_steps=num_steps, save_every=250, precision=torch.bfloat16, average=MovingAverage(parameters, 0.998),
    )  # fmt: skip
    newest = checkpoint.newest(out_dir / "decoder_checkpoints")
    if newest:
        trainer.restore(checkpoint.load(newest))
    print(f"before: {psnr(autoencoder, fresh):.2f} dB", flush=True)
    for event in trainer.run():
        if isinstance(event, Stepped) and event.step % 500 == 0:
            with trainer.averaged():
                print(f"{event.step} loss {event.loss:.4f} psnr {psnr(autoencoder, fresh):.2f} dB  {event.seconds:.2f} s", flush=True)
    with trainer.averaged():
        shutil.copytree(out_dir / "vae", out_dir / "vae_before", dirs_exist_ok=True)
        autoencoder.save_pretrained(out_dir / "vae")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000)
