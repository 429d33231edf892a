"""The loss on the same pictures at the same noise and the same times, so that two numbers can be compared."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from aquatint.core.family import Bundle, Conditioning, ModelFamily
from aquatint.core.randomness import SampleRandom, key
from aquatint.data.records import ImageRecord
from aquatint.training.batch import Examples

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
MAX_PICTURES = 8


def held_out_last(records: Sequence[ImageRecord], *, share: float, seed: int) -> tuple[tuple[ImageRecord, ...], int]:
    """The records with the held-out ones at the end, and how many are for training; chosen by content, at least one of each."""
    num_held_out = min(len(records) - 1, math.ceil(share * len(records)))
    chosen = sorted(records, key=lambda record: key(seed, "held out", record.content_hash))[:num_held_out]
    held_out = {record.name for record in chosen}
    training = [record for record in records if record.name not in held_out]
    return (*training, *chosen), len(training)


def once_each(records: Sequence[int], num_trained_on: int) -> list[int]:
    """Which samples to measure: one of each picture, however often it is repeated; of the held-out ones if there are any.

    `records` holds the picture of each sample; those from `num_trained_on` on are held out.
    """
    first = {record: index for index, record in reversed([*enumerate(records)])}
    return [index for index in sorted(first.values()) if index >= num_trained_on] or sorted(first.values())


def measure(bundle: Bundle, family: ModelFamily, *, examples: Examples, indices: Sequence[int], precision: torch.dtype) -> float:
    """Mean loss over at most `MAX_PICTURES` pictures at each of `TIMES`; noise depends on the picture's place alone."""
    device = next(bundle.denoiser.parameters()).device
    total, count = 0.0, 0
    was_training = bundle.denoiser.training
    bundle.denoiser.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for slot, index in enumerate(indices[:MAX_PICTURES]):
                total += _losses(bundle, family, examples=examples, index=index, slot=slot, device=device)
                count += 1
    finally:
        bundle.denoiser.train(was_training)
    return total / count


def _losses(bundle: Bundle, family: ModelFamily, *, examples: Examples, index: int, slot: int, device: torch.device) -> float:
    seen = examples.views[index][0]
    x_0 = seen.mean_BCHW.to(device).float().repeat(len(TIMES), 1, 1, 1)
    mask = None if seen.mask_B1HW is None else seen.mask_B1HW.repeat(len(TIMES), 1, 1, 1)
    prompt = examples.prompts[index][0]
    told = examples.conditionings.get(prompt) or family.encode_prompts(bundle, [prompt])
    told = Conditioning({name: value.to(device).repeat_interleave(len(TIMES), 0) for name, value in told.items()})
    eps = SampleRandom(0, 0, [slot] * len(TIMES)).normal("validation", x_0.shape[1:]).to(device)
    t = torch.tensor(TIMES, device=device)
    lesson = replace(bundle.objective.lesson_at(x_0, eps=eps, t=t), mask_B1HW=mask)
    return float(bundle.objective.losses(family.network(bundle, told), lesson.to(device)).mean())
