"""Write adapters into a base model, or several adapters into one.

With `base=` the result is a whole model, a diffusers folder that needs no adapter. Without it, it is one adapter whose
update is the weighted sum of the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, FiniteFloat, PositiveInt, model_validator
from typing_extensions import Self

from aquatint.config import Config

if TYPE_CHECKING:
    from aquatint.export.adapter import Adapter


class Merge(Config):
    adapters: tuple[Path, ...] = Field(min_length=1)
    """LoRA files with any program's names, or runs."""
    base: str | None = None
    """The model to write them into: `pocket`, a diffusers folder, or a Hub id that has been downloaded."""
    weights: tuple[FiniteFloat, ...] = ()
    """How much each counts, in their order. Not given: 1 for all."""
    method: Literal["concat", "svd", "weight"] = "concat"
    """Into one adapter: `concat` is exact, and its rank is the sum of theirs; `svd` cuts that to `rank`; `weight` adds up
    the factors themselves, which is right for states of one run alone: by weights whose sum is 1 they are averaged."""
    rank: PositiveInt | None = None
    """With `svd`. Not given: the largest of theirs."""
    out: Path
    """The new file, in kohya's names if all of them have these, else in diffusers'; with `base` the new folder."""

    positional: ClassVar[tuple[str, ...]] = ("adapters",)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.weights and len(self.weights) != len(self.adapters):
            raise ValueError(f"weights: {len(self.weights)} were given for {len(self.adapters)} adapters")
        if self.rank and (self.base or self.method != "svd"):
            raise ValueError("rank: only merging adapters into one with method=svd cuts to a rank")
        if not self.base and len(self.adapters) == 1:
            raise ValueError("adapters: one adapter alone is merged into a base=; several are merged into one")
        return self


def run(config: Merge) -> Iterator[str]:
    """Raises `BadFile`, before anything is written, for adapters that do not fit."""
    from aquatint.export import reading
    from aquatint.export.architectures import title_of
    from aquatint.export.opening import free_place
    from aquatint.model import adapter_file

    out, weights = free_place(config.out), config.weights or (1.0,) * len(config.adapters)
    adapters = [reading.read(adapter_file(path)) for path in config.adapters]
    for path, adapter, weight in zip(config.adapters, adapters, weights, strict=True):
        yield f"{path}: {'/'.join(adapter.kinds)} for {title_of(adapter.architecture)}, {len(adapter.layers)} layers, weight {weight:g}"
    if config.base:
        yield from _onto_base(config, adapters, weights=weights, out=out)
    else:
        yield from _into_one(config, adapters, weights=weights, out=out)


def _onto_base(config: Merge, adapters: list[Adapter], *, weights: tuple[float, ...], out: Path) -> Iterator[str]:
    from aquatint.export import onto_base
    from aquatint.export.weights import place_of

    named = list(zip(map(str, config.adapters), adapters, weights, strict=True))
    count = onto_base.write(place_of(config.base or ""), named, out=out)
    yield f"{out}  a whole model; {count} layers differ from {config.base}"


def _into_one(config: Merge, adapters: list[Adapter], *, weights: tuple[float, ...], out: Path) -> Iterator[str]:
    from aquatint.export import algebra, kohya
    from aquatint.export.diffusers_lora import write_adapter

    made = algebra.merged(adapters, weights, method=config.method, rank=config.rank)
    facts = {"modelspec.title": out.stem, "modelspec.merged_from": ", ".join(path.name for path in config.adapters)}
    are_kohyas = all(adapter.spelling in ("kohya", "comfyui") for adapter in adapters)
    (kohya.write if are_kohyas else write_adapter)(made.adapter, out, facts=facts)
    ranks = made.adapter.ranks
    lost = f", {made.share:.1%} of the squared singular values kept on average" if config.method == "svd" else ""
    yield f"{out}  {len(made.adapter.layers)} layers, rank {ranks[0]}{f' to {ranks[-1]}' if len(ranks) > 1 else ''}{lost}"
