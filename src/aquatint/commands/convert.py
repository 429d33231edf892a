"""Write an adapter in the names of other programs.

Kohya's names are what ComfyUI, A1111 and Forge load; diffusers' are what its pipelines and `generate` load. Nothing is lost
either way: alpha is kept or folded into the factors, and layers that one side keeps as one matrix are set along a diagonal,
which makes kohya files for FLUX and Stable Diffusion 3 about three times as large.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from aquatint.config import Config


class Convert(Config):
    file: Path
    """A LoRA file with any program's names, a run, or a folder as PEFT saves it."""
    to: Literal["kohya", "diffusers"] = "kohya"
    """Whose names to write."""
    out: Path | None = None
    """The new file. Not given: beside the old one, with `_kohya` or `_diffusers` in its name."""

    positional: ClassVar[tuple[str, ...]] = ("file",)


def run(config: Convert) -> Iterator[str]:
    """Raises `BadFile`, before anything is written, for what has no form in those names."""
    from aquatint.export import diffusers_lora, kohya, reading
    from aquatint.export.architectures import title_of
    from aquatint.export.opening import free_place
    from aquatint.model import adapter_file

    name = config.file.name if config.file.is_dir() else config.file.stem
    out = free_place(config.out or config.file.with_name(f"{name}_{config.to}.safetensors"))
    file = adapter_file(config.file)
    adapter = reading.read(file)
    yield f"{config.file}: {'/'.join(adapter.kinds)} for {title_of(adapter.architecture)} in {adapter.spelling} names"
    if config.to == "kohya":
        kohya.write(adapter, out, facts={})
    else:
        diffusers_lora.write_adapter(adapter, out, facts={})
    if adapter.is_dora and config.to == "kohya":
        yield "note: ComfyUI reads DoRA's magnitudes from this file, and diffusers leaves them out"
    if adapter.unknown:
        yield f"left out: {len(adapter.unknown)} tensors that belong to no layer, first {adapter.unknown[0]}"
    yield f"{out}  {len(adapter.layers)} layers, {out.stat().st_size / 2**20:.1f} MiB (it was {_size(file) / 2**20:.1f})"


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*.safetensors")))
