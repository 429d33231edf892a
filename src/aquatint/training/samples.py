"""Samples of a run: the same prompts and seeds at every step, kept as PNGs that say how they were made."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image, fromarray

from aquatint.core.family import Bundle, Told
from aquatint.core.fingerprint import identity
from aquatint.core.request import Request
from aquatint.data.cache import TensorCache, entry_key
from aquatint.data.records import ImageRecord
from aquatint.generation.drawing import draw
from aquatint.generation.metadata import png_info
from aquatint.training.events import Sampled
from aquatint.training.folder import RunFolder
from aquatint.training.settings import Samples

NUM_PROMPTS = 4


@dataclass(frozen=True)
class Sampler:
    bundle: Bundle
    requests: Sequence[Request]
    folder: RunFolder
    precision: torch.dtype
    base: str
    averaged: Callable[[], AbstractContextManager[None]]
    """Inside, the network holds the weights that would be saved."""

    cache: TensorCache

    def __call__(self, step: int) -> Sampled:
        with self.averaged():
            pictures = self._drawn() if step else self._drawn_once()
        return Sampled(step=step, paths=self.keep(step, pictures))

    def _drawn(self) -> list[Image]:
        return list(draw(self.bundle, self.requests, batch_size=len(self.requests), precision=self.precision))

    def _drawn_once(self) -> list[Image]:
        """A run tried again begins with the same model: its first pictures are there already."""
        whole = (identity(self.bundle), str(self.precision), repr(self.requests))
        keys = [entry_key("sample", *whole, str(index)) for index in range(len(self.requests))]

        def compute(indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
            pictures = self._drawn()  # all, as an answer varies in its last digits with the batch that it was computed in
            return [{"pixels": torch.from_numpy(np.array(pictures[index]))} for index in indices]

        entries = self.cache.get_many(keys, compute, chunk=len(keys))
        return [fromarray(entry["pixels"].numpy()) for entry in entries]

    def keep(self, step: int, pictures: Sequence[Image]) -> tuple[Path, ...]:
        """Write one picture a request as `samples/step_…/NN.png`."""
        place = self.folder.samples(step)
        place.mkdir(parents=True, exist_ok=True)
        paths = []
        for index, (picture, request) in enumerate(zip(pictures, self.requests, strict=True)):
            info = png_info(request, base=self.base, adapter=str(self.folder.path), scheduler=type(self.bundle.pipeline.scheduler).__name__)
            paths.append(place / f"{index:02d}.png")
            picture.save(paths[-1], pnginfo=info)
        return tuple(paths)


def requests(
    settings: Samples, *, trigger: str | None, records: Sequence[ImageRecord], size_px: int, told: Told = "text"
) -> list[Request]:
    """One a prompt; without prompts the trigger and the first captions. Of a model that is told nothing a handful."""
    captions = list(dict.fromkeys(record.caption for record in records if record.caption))
    derived = ([f"a photo of {trigger}"] if trigger else []) + captions
    prompts = list(settings.prompts) or list(dict.fromkeys(derived))[:NUM_PROMPTS] or [""]
    if told == "nothing":
        prompts = [""] * NUM_PROMPTS
    return [
        Request(prompt, settings.seed + index, num_steps=settings.num_steps, scale=settings.scale, width_px=size_px, height_px=size_px)
        for index, prompt in enumerate(prompts)
    ]
