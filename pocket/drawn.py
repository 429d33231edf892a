"""Pictures of the pocket world in memory, and batches of them as a function of the step."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from world import PLACES, Picture, draw_picture

from aquatint.core.randomness import key


@dataclass(frozen=True)
class Drawn:
    pixels_NHWC: np.ndarray
    """uint8"""
    things: list[str]
    places: list[str]
    captions: list[str]


@dataclass(frozen=True)
class DrawnBatch:
    """What the loop asks of a micro-batch, and the pictures."""

    slots: Sequence[int]
    weight_B: Tensor
    total_weight: float
    names: Sequence[str]
    indices: np.ndarray


def draw_many(count: int, *, things: Sequence[str], seed: str) -> Drawn:
    """Every thing and every place equally often, in an order that depends on the seed alone."""
    pictures: list[Picture] = []
    places = list(PLACES)
    for index in range(count):
        rng = random.Random(f"{seed}/{index}")
        pictures.append(draw_picture(rng, thing=things[index % len(things)], place=places[(index // len(things)) % len(places)]))
    pixels = np.stack([np.asarray(p.image) for p in pictures])
    return Drawn(pixels, [p.thing for p in pictures], [p.place for p in pictures], [p.caption for p in pictures])


def batches(num_pictures: int, batch_size: int, *, seed: int) -> Callable[[int], list[DrawnBatch]]:
    """Step -> one batch; every picture once an epoch, in a fresh order each epoch."""
    per_epoch = num_pictures // batch_size

    def at(step: int) -> list[DrawnBatch]:
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng(key(seed, epoch)).permutation(num_pictures)
        indices = order[place * batch_size : (place + 1) * batch_size]
        return [DrawnBatch(range(batch_size), torch.ones(batch_size), float(batch_size), [str(i) for i in indices], indices)]

    return at


def to_tensor(pixels_NHWC: np.ndarray) -> Tensor:
    """uint8 pictures to float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1.0
