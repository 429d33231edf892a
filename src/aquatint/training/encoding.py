"""Records to examples: every picture and every prompt goes through the frozen encoders once, and stays in the cache."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from aquatint.core.family import Bundle, Conditioning, Encoded, ModelFamily
from aquatint.core.fingerprint import fingerprint, units
from aquatint.data.cache import TensorCache, entry_key
from aquatint.data.looks import read_again
from aquatint.data.masks import open_mask
from aquatint.data.records import ImageRecord
from aquatint.data.settings import Images
from aquatint.data.transforms import View, fit_mask, load_pixels, record_views, to_latent_mask
from aquatint.training.batch import Examples

PICTURES_AT_ONCE, PROMPTS_AT_ONCE = 16, 64

Progress = Callable[[int, int], None]
"""(done, of how many)"""
Size = tuple[int, int]
"""(width, height) in pixels"""


@dataclass(frozen=True)
class Encoding:
    """How records become examples; `bundle` must hold its encoders."""

    bundle: Bundle
    family: ModelFamily
    cache: TensorCache
    images: Images
    """How they are shown."""
    progress: Progress | None = None

    def examples(self, records: Sequence[ImageRecord], sizes: Sequence[Size], *, keep_prompts: bool) -> Examples:
        """Encode, or find in the cache. With `keep_prompts` the prompts stay text, for a text encoder that is trained."""
        prompts = [record.prompts for record in records]
        views = self._views(records, sizes)
        conditionings = {} if keep_prompts else self.conditionings(sorted({*self.empty, *chain.from_iterable(prompts)}))
        return Examples([r.name for r in records], prompts, views, conditionings)

    def conditionings(self, prompts: Sequence[str]) -> dict[str, Conditioning]:
        """Each prompt's encoding, a batch of one; none where nothing is told. Raises `BadSetting` for a class that there is not."""
        if self.bundle.told == "nothing":
            return {}
        if self.bundle.told == "classes":  # nothing to compute, and a class's number is this base's own
            return {prompt: self.family.encode_prompts(self.bundle, [prompt]).to(torch.device("cpu")) for prompt in prompts}
        encoders = "+".join(fingerprint(encoder) for encoder in self.bundle.text_encoders)
        long = [f"{self.bundle.windows} windows"] if self.bundle.windows > 1 else []
        read = [self.bundle.reading] if self.bundle.reading else []
        keys = [entry_key("prompt", encoders, str(torch.float32), prompt, *long, *read) for prompt in prompts]

        def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
            with torch.no_grad():
                together = self.family.encode_prompts(self.bundle, [prompts[i] for i in indices])
            return [{name: value[row : row + 1].cpu() for name, value in together.items()} for row in range(len(indices))]

        found = self.cache.get_many(
            keys, compute, chunk=PROMPTS_AT_ONCE, progress=self.progress, name_of=lambda i: f"the prompt {prompts[i]!r}"
        )
        return {prompt: Conditioning(entry) for prompt, entry in zip(prompts, found, strict=True)}

    @property
    def empty(self) -> tuple[str, ...]:
        """The empty prompt, where that means something."""
        return ("",) if self.bundle.knows_empty else ()

    def _views(self, records: Sequence[ImageRecord], sizes: Sequence[Size]) -> list[list[Encoded]]:
        autoencoder = self.bundle.autoencoder
        network: Any = self.bundle.denoiser
        encoder = f"{fingerprint(autoencoder)} {units(autoencoder)}" if autoencoder else f"pixels in {network.config.in_channels} channels"
        device = next(self.bundle.denoiser.parameters()).device
        of_each = [record_views(r, size, images=self.images) for r, size in zip(records, sizes, strict=True)]
        wanted = [(record, view) for record, views in zip(records, of_each, strict=True) for view in views]
        keys = [entry_key("picture", encoder, str(torch.float32), *_content(record), view.identity()) for record, view in wanted]

        def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
            seen = [_seen(record, view) for record, view in (wanted[i] for i in indices)]
            with torch.no_grad():
                encoded = self.family.encode_images(self.bundle, torch.stack([pixels for pixels, _ in seen]).to(device))
            rows = [{"mean": encoded.mean_BCHW[i : i + 1].cpu(), "std": encoded.std_BCHW[i : i + 1].cpu()} for i in range(len(indices))]
            return [row | _masked(row, mask) for row, (_, mask) in zip(rows, seen, strict=True)]

        found = self.cache.get_many(
            keys, compute, chunk=PICTURES_AT_ONCE, progress=self.progress,
            group_of=lambda i: wanted[i][1].size, name_of=lambda i: wanted[i][0].name,
        )  # fmt: skip
        views = iter([Encoded(entry["mean"], entry["std"], entry.get("mask")) for entry in found])
        return [list(islice(views, len(each))) for each in of_each]


def _content(record: ImageRecord) -> tuple[str, ...]:
    return (record.content_hash, record.mask.content_hash) if record.mask else (record.content_hash,)


def _seen(record: ImageRecord, view: View) -> tuple[Tensor, Tensor | None]:
    """Pixels (3, H, W) in [-1, 1], and the mask over them (1, H, W) in [0, 1] if there is one.

    Raises BadPicture also where the file changed since it was looked at: under the hash of then it would be found for ever.
    """
    pixels, geometry = load_pixels(record.place, view, content=read_again(record.place, record.content_hash))
    return pixels, fit_mask(open_mask(record.mask), view, geometry=geometry) if record.mask else None


def _masked(row: Mapping[str, Tensor], mask_1HW: Tensor | None) -> dict[str, Tensor]:
    if mask_1HW is None:
        return {}
    return {"mask": to_latent_mask(mask_1HW, mask_1HW.shape[-1] // row["mean"].shape[-1])[None]}
