"""Files of tensors from anywhere: opened only when they are safetensors, and told apart from what merely bears the name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aquatint.errors import BadFile, why

SIGNS = {
    b"\x80": "a pickle, which may run any code when it is opened; it is not opened here. Get the .safetensors file of it",
    b"PK\x03\x04": "a zip archive, as torch.save writes it with a pickle inside, which may run any code when it is opened; "
                   "it is not opened here. Get the .safetensors file of it",
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it stands for; fetch that with: git lfs pull",
    b"<": "a web page, saved under the name of a file; the download needs a login or another address",
    b"GGUF": "a GGUF file, which other programs quantise models into; get the .safetensors file of it",
    b"{": "JSON text, not tensors",
}  # fmt: skip
"""How files begin that are something else."""
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True)
class Header:
    """What a file says of itself; no tensor is read for it."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def header(path: Path) -> Header:
    """Raises `BadFile` for anything but a whole safetensors file."""
    _check_kind(path)
    try:
        with safe_open(path, "pt") as file:
            return Header({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, dict(file.metadata() or {}))  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadFile(f"{path}: this is no whole safetensors file ({why(error)}); fetch or write it again") from error


def tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """One after another, so that a model larger than memory can be looked through. Raises `BadFile`."""
    names = header(path).shapes
    try:
        with safe_open(path, "pt") as file:
            for name in names:
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise BadFile(f"{path}: {why(error)}") from error


def is_finite(tensor: Tensor) -> bool:
    """Of any format: those of 8 bits have no test of their own."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor).all())


def free_place(out: Path) -> Path:
    """`out`, if nothing is there. Raises `BadFile`: no command writes over a file."""
    if out.exists() or out.is_symlink():
        raise BadFile(f"out={out}: there is something already, and nothing is written over; choose another name or move it away")
    return out


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise BadFile(f"{path}: this is a folder, and a .safetensors file was asked for")
    if not path.is_file():
        raise BadFile(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(64)
    sign = next((what for sign, what in SIGNS.items() if start.lstrip().startswith(sign) or start.startswith(sign)), "")
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8:
        raise BadFile(f"{path}: {'an empty file' if not start else 'too short for a safetensors file'}; fetch or write it again")
    if sign and not 2 <= length <= path.stat().st_size - 8:
        raise BadFile(f"{path}: this is {sign}")
    if path.suffix in PICKLED:
        raise BadFile(f"{path}: only .safetensors files are opened; a {path.suffix} file may hold code that runs when it is read")
