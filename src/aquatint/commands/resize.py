"""Cut an adapter to a smaller rank.

Each layer keeps its largest singular values, which is the nearest update of that rank there is. `keep=0.95` chooses for
each layer the smallest rank that keeps that share of the squared singular values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from aquatint.config import Config


class Resize(Config):
    file: Path
    """A LoRA file with any program's names, or a run."""
    rank: PositiveInt | None = None
    """Of every layer, at most."""
    keep: float | None = Field(None, gt=0, le=1)
    """Share of the squared singular values that each layer keeps."""
    out: Path
    """The new file, in the names of the old one."""

    positional: ClassVar[tuple[str, ...]] = ("file",)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.rank is None) == (self.keep is None):
            raise ValueError("give rank=, or the share to keep=, and not both")
        return self


def run(config: Resize) -> Iterator[str]:
    """Raises `BadFile` for what is no LoRA."""
    from aquatint.export import algebra, reading
    from aquatint.export.diffusers_lora import write_adapter
    from aquatint.export.kohya import write
    from aquatint.export.opening import free_place
    from aquatint.model import adapter_file

    out, adapter = free_place(config.out), reading.read(adapter_file(config.file))
    keep, rank = config.keep, config.rank
    reduced = algebra.reduced(adapter, lambda values: algebra.rank_for(values, keep) if keep else rank or 1)
    (write if adapter.spelling in ("kohya", "comfyui") else write_adapter)(reduced.adapter, out, facts={})
    least = min(reduced.kept, key=lambda name: reduced.kept[name])
    yield f"rank {_span(adapter.ranks)} became {_span(reduced.adapter.ranks)}"
    yield f"kept {reduced.share:.1%} of the squared singular values on average, least {reduced.kept[least]:.1%} in {least}"
    yield f"{out}  {out.stat().st_size / 2**20:.1f} MiB (it was {config.file.stat().st_size / 2**20:.1f})"


def _span(ranks: tuple[int, ...]) -> str:
    return f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
