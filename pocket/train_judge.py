"""Train the judge of pocket's pictures: `python pocket/train_judge.py OUT_DIR [STEPS]`. Writes OUT_DIR/judge."""

import sys
from pathlib import Path

import torch
from drawn import Drawn, DrawnBatch, batches, draw_many, to_tensor
from things import HELD_OUT, TRAINED
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from world import PLACES

from aquatint.core.randomness import SampleRandom
from aquatint.evaluation.judge import Judge, right
from aquatint.training import checkpoint
from aquatint.training.ema import MovingAverage
from aquatint.training.events import Stepped
from aquatint.training.runtime import Runtime
from aquatint.training.schedules import warmup_cosine
from aquatint.training.trainer import Trainer

BATCH, PEAK_RATE, COPIES, SMOOTHING = 128, 2e-3, 12, 0.05
THINGS = [*TRAINED, *HELD_OUT]


class JudgeLoss(nn.Module):
    """Cross-entropy of the thing and of the place, on pictures made worse as a generator makes them worse."""

    def __init__(self, judge: Judge, drawn: Drawn):
        super().__init__()
        self.judge, self._drawn = judge, drawn
        self._things = torch.tensor([judge.things.index(thing) for thing in drawn.things])
        self._places = torch.tensor([judge.places.index(place) for place in drawn.places])

    def forward(self, batch: DrawnBatch, random: SampleRandom) -> Tensor:
        thing, place = self.judge(worsened(to_tensor(self._drawn.pixels_NHWC[batch.indices]), random))
        losses = [(thing, self._things[batch.indices]), (place, self._places[batch.indices])]
        return sum(cross_entropy(logits.float(), own, reduction="none", label_smoothing=SMOOTHING) for logits, own in losses)


def worsened(pixels_BCHW: Tensor, random: SampleRandom) -> Tensor:
    """Softer, noisier and of slightly other colours, each picture by its own amounts."""

    def amount(purpose: str, *, low: float, high: float) -> Tensor:
        return (low + (high - low) * random.uniform(purpose))[:, None, None, None]

    coarse = interpolate(avg_pool2d(pixels_BCHW, 2), scale_factor=2.0, mode="bilinear")
    soft = pixels_BCHW.lerp(avg_pool2d(pixels_BCHW, 3, 1, 1, count_include_pad=False), amount("blur", low=0, high=1))
    soft = soft.lerp(coarse, amount("coarse", low=-0.6, high=0.8).clamp(min=0))
    blotches = interpolate(random.normal("blotches", (3, 16, 16)), scale_factor=4.0, mode="bilinear")
    grain = random.normal("grain", pixels_BCHW.shape[1:])
    noisy = soft + amount("blotch", low=0, high=0.15) * blotches + amount("grain", low=0, high=0.1) * grain
    gray = noisy.mean(1, keepdim=True)
    coloured = gray + amount("saturation", low=0.8, high=1.2) * (noisy - gray)
    return (coloured * amount("contrast", low=0.85, high=1.15) + amount("brightness", low=-0.1, high=0.1)).clamp(-1, 1)


def accuracy(judge: Judge, drawn: Drawn) -> tuple[float, float]:
    """Share of right things and of right places."""
    thing, place = right(judge, to_tensor(drawn.pixels_NHWC), things=drawn.things, places=drawn.places)
    return float(thing.float().mean()), float(place.float().mean())


def main(out_dir: Path, num_steps: int) -> None:
    torch.manual_seed(0)
    drawn = draw_many(COPIES * len(THINGS) * len(PLACES), things=THINGS, seed="judge")
    fresh = draw_many(2_000, things=THINGS, seed="judge-fresh")
    judge = Judge(things=THINGS, places=list(PLACES))
    parameters = dict(judge.named_parameters())
    average = MovingAverage(parameters, 0.99)
    trainer = Trainer(
        JudgeLoss(judge, drawn), parameters, torch.optim.AdamW(parameters.values(), PEAK_RATE, weight_decay=0.02, fused=True),
        warmup_cosine(num_steps=num_steps, warmup_steps=50, final=0.01), batches(len(drawn.captions), BATCH, seed=0), Runtime(cpu=True),
        out_dir / "judge_checkpoints", num_steps=num_steps, save_every=250, precision=torch.bfloat16, average=average,
    )  # fmt: skip
    newest = checkpoint.newest(out_dir / "judge_checkpoints")
    if newest:
        trainer.restore(checkpoint.load(newest))
    for event in trainer.run():
        if isinstance(event, Stepped) and event.step % 100 == 0:
            with trainer.averaged():
                thing, place = accuracy(judge, fresh)
            print(f"{event.step} loss {event.loss:.3f} thing {thing:.4f} place {place:.4f}  {event.seconds:.2f} s", flush=True)
    with trainer.averaged():
        judge.save(out_dir / "judge")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 800)
