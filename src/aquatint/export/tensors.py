"""The one way tensors become a file."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from aquatint.atomic import replacing


def write_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """A safetensors file; refuses numbers that are not finite (no file ever holds one)."""
    check_finite(tensors, path)
    with replacing(path) as aside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside, metadata=dict(metadata))


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises `FloatingPointError` that names the place where they would have been written."""
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise FloatingPointError(f"{len(bad)} tensors are not finite, first {bad[0]}; {path} was not written")
