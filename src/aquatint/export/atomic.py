"""Files that are whole or absent: written beside their place, flushed, renamed."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Inside, write to the given path beside the target (a file or a folder); it takes the target's name at the end."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(aside)
    try:
        yield aside
        for file in [aside] if aside.is_file() else [p for p in aside.rglob("*") if p.is_file()]:
            _flush(file)
        if path.is_dir():
            _remove(path)
        os.replace(aside, path)
        _flush(path.parent)
    finally:
        _remove(aside)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """A safetensors file; refuses numbers that are not finite (no file ever holds one)."""
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise FloatingPointError(f"{len(bad)} tensors are not finite, first {bad[0]}; {path} was not written")
    with replacing(path) as aside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside, metadata=dict(metadata))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
