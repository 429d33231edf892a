"""Draw an adapter from the difference of two models: a fine-tuned one and what it was tuned from.

The difference of every linear layer and convolution is cut to its largest singular values. The share that they keep is
told; a model that was tuned in all its weights may need a large rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from aquatint.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from aquatint.export.weights import Weight

NO_LAYER = (".embeddings.", "shared.weight", "relative_attention_bias", "norm", "pos_embed.pos_embed")
"""Weights with two sides that are looked up or scale, and are no layers."""


class Extract(Config):
    tuned: str
    """The fine-tuned model: a diffusers folder, or a checkpoint in one file."""
    base: str
    """What it was tuned from, in either form: also `pocket`, or a Hub id that has been downloaded."""
    rank: int = Field(32, ge=1, le=1024)
    """Of every layer."""
    out: Path
    """The new file, in diffusers' names; `convert` writes others."""

    positional: ClassVar[tuple[str, ...]] = ("tuned", "base")


def run(config: Extract) -> Iterator[str]:
    """Raises `BadFile` when the two are not of one architecture and size, or do not differ."""
    from aquatint.errors import BadFile
    from aquatint.export import algebra
    from aquatint.export.adapter import Adapter
    from aquatint.export.architectures import recognise, title_of
    from aquatint.export.diffusers_lora import write_adapter
    from aquatint.export.opening import free_place
    from aquatint.export.weights import place_of, weights_of

    out = free_place(config.out)
    base, tuned = (weights_of(place_of(source)) for source in (config.base, config.tuned))
    pairs = _pairs(base, tuned)
    widths = {name: (pair[0].shape[1], pair[0].shape[0]) for name, pair in pairs.items()}
    yield f"{len(pairs)} layers of {title_of(recognise(widths, {}))} are compared"
    layers, kept = {}, {}
    for name, factors, share in algebra.extracted(_differences(pairs), rank=config.rank):
        layers[name], kept[name] = factors, share
    if not layers:
        raise BadFile(f"{config.tuned} and {config.base} do not differ in any layer; there is nothing to extract")
    adapter = Adapter(layers, recognise(widths, {}))
    write_adapter(adapter, out, facts={"modelspec.title": out.stem, "ss_network_module": "aquatint.extract"})
    least = min(kept, key=lambda name: kept[name])
    yield f"kept {sum(kept.values()) / len(kept):.1%} of the squared difference on average, least {kept[least]:.1%} in {least}"
    if others := _other_differences(base, tuned):
        yield f"left out: {len(others)} biases, norms and embeddings that differ too, which no LoRA holds, first {others[0]}"
    yield f"{out}  {len(layers)} layers, rank {config.rank}, {out.stat().st_size / 2**20:.1f} MiB"


def _pairs(base: Mapping[str, Weight], tuned: Mapping[str, Weight]) -> dict[str, tuple[Weight, Weight]]:
    """Layer -> its weights in both, of the parts that both files have."""
    from aquatint.export.weights import pairs_of

    parts = {name.partition(".")[0] for name in base} & {name.partition(".")[0] for name in tuned}
    networks = {name.partition(".")[0] for name in (*base, *tuned)} & {"unet", "transformer"}

    def is_layer(name: str) -> bool:
        weight = base.get(name) or tuned[name]
        is_there = name.partition(".")[0] in parts | networks
        return is_there and name.endswith(".weight") and len(weight.shape) in (2, 4) and not any(part in name for part in NO_LAYER)

    pairs = pairs_of(base, tuned, select=is_layer)
    return {name.removesuffix(".weight"): pair for name, pair in pairs.items()}


def _differences(pairs: Mapping[str, tuple[Weight, Weight]]) -> Iterator[tuple[str, Tensor]]:
    """One after another. Raises `BadFile` for numbers that are not finite."""
    from aquatint.errors import BadFile
    from aquatint.export.opening import is_finite

    for name, (before, after) in pairs.items():
        difference = after.read().float() - before.read().float()
        if not is_finite(difference):
            raise BadFile(f"{name}: the weights of {before.file} or {after.file} are not finite; that model is broken")
        yield name, difference


def _other_differences(base: Mapping[str, Weight], tuned: Mapping[str, Weight]) -> list[str]:
    import torch

    names = [name for name in base if name in tuned and (len(base[name].shape) not in (2, 4) or any(part in name for part in NO_LAYER))]
    alike = [name for name in names if base[name].shape == tuned[name].shape]
    return [name for name in alike if not torch.equal(base[name].read().float(), tuned[name].read().float())]
