"""Train pocket's CLIP on drawn pictures: `python pocket/train_clip.py OUT_DIR [STEPS]`. Its text tower becomes the text encoder.

Needs OUT_DIR/tokenizer; writes OUT_DIR/clip and OUT_DIR/text_encoder.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from drawn import Drawn, DrawnBatch, draw_many, to_tensor
from things import TRAINED
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig
from world import PLACES, SIDE_PX, plain_caption

from aquatint.core.randomness import SampleRandom, key
from aquatint.training import checkpoint
from aquatint.training.ema import MovingAverage
from aquatint.training.events import Stepped
from aquatint.training.runtime import Runtime
from aquatint.training.schedules import warmup_cosine
from aquatint.training.trainer import Trainer

BATCH, PEAK_RATE, COPIES = 128, 1e-3, 16
WIDTH = 192
NUM_PAIRS = len(TRAINED) * len(PLACES)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Both towers three layers deep."""
    shape = {"hidden_size": WIDTH, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "projection_dim": WIDTH}
    text = CLIPTextConfig(
        **shape, vocab_size=len(tokenizer), max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(**shape, image_size=SIDE_PX, patch_size=8)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def pair_batches(*, seed: int) -> Callable[[int], list[DrawnBatch]]:
    """Step -> one batch without two pictures of the same thing in the same place, which would be false negatives.

    The pictures are those of `draw_many`, where the picture at `index` shows pair `index % NUM_PAIRS`.
    """

    def at(step: int) -> list[DrawnBatch]:
        rng = np.random.default_rng(key(seed, step))
        indices = rng.permutation(NUM_PAIRS)[:BATCH] + NUM_PAIRS * rng.integers(COPIES, size=BATCH)
        return [DrawnBatch(range(BATCH), torch.ones(BATCH), float(BATCH), [str(i) for i in indices], indices)]

    return at


class ContrastiveLoss(nn.Module):
    """Which caption belongs to the picture, and which picture to the caption (Radford et al. 2021)."""

    def __init__(self, clip: CLIPModel, tokenizer: CLIPTokenizer, drawn: Drawn):
        super().__init__()
        self.clip, self._tokenizer, self._drawn = clip, tokenizer, drawn

    def forward(self, batch: DrawnBatch, random: SampleRandom) -> Tensor:
        pixels = to_tensor(self._drawn.pixels_NHWC[batch.indices])
        tokens = self._tokenizer([self._drawn.captions[i] for i in batch.indices], padding=True, return_tensors="pt")
        logits = self.clip(input_ids=tokens.input_ids, pixel_values=pixels).logits_per_image.float()
        own = torch.arange(len(logits))
        return (cross_entropy(logits, own, reduction="none") + cross_entropy(logits.T, own, reduction="none")) / 2


@torch.no_grad()
def retrieval(clip: CLIPModel, tokenizer: CLIPTokenizer, *, drawn: Drawn) -> tuple[float, float]:
    """Share of the pictures whose nearest of all plain captions names the right thing, and of those the right place."""
    pairs = [(thing, place) for thing in TRAINED for place in PLACES]
    tokens = tokenizer([plain_caption(*pair) for pair in pairs], padding=True, return_tensors="pt")
    texts = clip.text_projection(clip.text_model(tokens.input_ids).pooler_output)
    images = clip.visual_projection(clip.vision_model(to_tensor(drawn.pixels_NHWC)).pooler_output)
    nearest = (images @ nn.functional.normalize(texts).T).argmax(1).tolist()
    right = np.array([(pairs[n][0] == t, pairs[n][1] == p) for n, t, p in zip(nearest, drawn.things, drawn.places, strict=True)])
    return float(right[:, 0].mean()), float(right[:, 1].mean())


def save(clip: CLIPModel, tokenizer: CLIPTokenizer, *, out_dir: Path) -> None:
    clip.save_pretrained(out_dir / "clip")
    tokenizer.save_pretrained(out_dir / "clip")
    side = {"height": SIDE_PX, "width": SIDE_PX}
    CLIPImageProcessorPil(size=side, crop_size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(out_dir / "clip")
    encoder = CLIPTextModel(clip.config.text_config)
    encoder.load_state_dict(clip.text_model.state_dict())
    encoder.save_pretrained(out_dir / "text_encoder")


def main(out_dir: Path, num_steps: int) -> None:
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(out_dir / "tokenizer")
    drawn = draw_many(COPIES * NUM_PAIRS, things=list(TRAINED), seed="clip")
    fresh = draw_many(NUM_PAIRS, things=list(TRAINED), seed="clip-fresh")
    clip = new_clip(tokenizer)
    parameters = dict(clip.named_parameters())
    matrices = [p for p in parameters.values() if p.ndim > 1]
    others = [p for p in parameters.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    average = MovingAverage(parameters, 0.99)
    trainer = Trainer(
        ContrastiveLoss(clip, tokenizer, drawn), parameters, torch.optim.AdamW(groups, PEAK_RATE, betas=(0.9, 0.98), fused=True),
        warmup_cosine(num_steps=num_steps, warmup_steps=100, final=0.01), pair_batches(seed=0), Runtime(cpu=True),
        out_dir / "clip_checkpoints", num_steps=num_steps, save_every=250, precision=torch.bfloat16, average=average,
    )  # fmt: skip
    newest = checkpoint.newest(out_dir / "clip_checkpoints")
    if newest:
        trainer.restore(checkpoint.load(newest))
    for event in trainer.run():
        if isinstance(event, Stepped) and event.step % 100 == 0:
            with trainer.averaged():
                thing, place = retrieval(clip, tokenizer, drawn=fresh)
            print(f"{event.step} loss {event.loss:.3f} thing {thing:.3f} place {place:.3f}  {event.seconds:.2f} s", flush=True)
    with trainer.averaged():
        save(clip, tokenizer, out_dir=out_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1500)
