"""The table of classes in a U-Net (`class_embedding` of diffusers' `UNet2DModel`), made longer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aquatint.core.family import Bundle


def add_classes(bundle: Bundle, names: Sequence[str]) -> None:
    """The bundle is told classes then, these after those that it knows, which keep numbers and rows. "No class" stays the last number.

    A model that was told nothing gets rows of zeros, one for no class among them. New rows of a table begin at the mean of the old ones.
    """
    unet: Any = bundle.denoiser
    width = unet.time_embedding.linear_2.bias
    old: Tensor = width.new_zeros(1, len(width)) if unet.class_embedding is None else unet.class_embedding.weight.detach()
    is_told = unet.class_embedding is not None
    new = old.mean(0).expand(len(names), -1)
    rows = torch.cat([old[: len(bundle.labels)], new, old[len(bundle.labels) :]])
    unet.class_embedding = nn.Embedding(len(rows), len(width), _weight=rows).requires_grad_(False)
    unet.register_to_config(num_class_embeds=len(rows))
    bundle.told, bundle.labels = "classes", (*bundle.labels, *names)
    if not is_told or bundle.null_class is not None:
        bundle.null_class = len(bundle.labels)
