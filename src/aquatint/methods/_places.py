"""Which layers of a network are adapted, and patterns on their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from aquatint.methods.base import Shapes

ADAPTER = re.compile(r"\.(?=lora_|hada_|lokr_|oft_)")
"""Between the name of a layer and those of its trained tensors."""
Value = TypeVar("Value")


def chosen(shapes: Shapes, targets: Sequence[str]) -> dict[str, Sequence[int]]:
    """Layers with one of these last parts of names -> shapes of their weights."""
    ends = tuple(f".{target}.weight" for target in targets)
    return {name.removesuffix(".weight"): shape for name, shape in shapes.items() if f".{name}".endswith(ends)}


def fits(pattern: str, layer: str) -> bool:
    """Whether the pattern is a run of whole parts of the name, `*` in it standing for anything: `mid_block`, `up_blocks.*.attn2`."""
    return fnmatchcase(f".{layer}.", f"*.{pattern}.*")


def setting_at(layer: str, patterns: Mapping[str, Value], *, otherwise: Value) -> Value:
    """What the last pattern says that fits the layer."""
    return next((patterns[pattern] for pattern in reversed(list(patterns)) if fits(pattern, layer)), otherwise)


def layer_of(trained: str) -> str:
    """`denoiser.mid_block.to_q.lora_A.default.weight` -> `mid_block.to_q`."""
    return ADAPTER.split(trained, maxsplit=1)[0].partition(".")[2]


def parts_of_names(layers: Iterable[str]) -> set[str]:
    """What patterns can be made of."""
    return {part for layer in layers for part in layer.split(".") if not part.isdigit()}


def ends_of_names(layers: Iterable[str]) -> set[str]:
    """What targets can be: last parts, and the one before where the last is a number."""
    return {match.group() for layer in layers if (match := re.search(r"[^.]+(\.\d+)*$", layer))}
