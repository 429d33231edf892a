"""Many named sets of tensors in one safetensors file, each with its checksum."""

from __future__ import annotations

import json
import os
import struct
import uuid
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from aquatint.atomic import flush

Entry = dict[str, Tensor]
SUFFIX = ".safetensors"
SUMS = "crc32"
MAX_HEADER_BYTES = 100_000_000
"""The most that safetensors reads."""


def write_shard(folder: Path, entries: Mapping[str, Entry]) -> Path:
    """One new file in `folder`, whole or absent. Raises OSError if it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    aside = target.with_suffix(".writing")
    tensors = {f"{key}/{name}": tensor for key, entry in entries.items() for name, tensor in entry.items()}
    try:
        save_file(tensors, aside, metadata={SUMS: json.dumps({key: checksum(entry) for key, entry in entries.items()})})
        flush(aside)
        os.replace(aside, target)
    except SafetensorError as error:  # its writer wraps "no space left"
        raise OSError(str(error)) from error
    finally:
        aside.unlink(missing_ok=True)
    return target


def keys_of(shard: Path) -> tuple[str, ...]:
    """The entries of a whole shard, by its header alone. Raises ValueError if it is cut off or no shard."""
    with shard.open("rb") as file:
        start = file.read(8)
        num_bytes = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < num_bytes <= MAX_HEADER_BYTES:
            raise ValueError("no header")
        header = json.loads(file.read(num_bytes))
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict) or SUMS not in header["__metadata__"]:
        raise ValueError("not a shard of this cache")
    sums = json.loads(header.pop("__metadata__")[SUMS])
    data_bytes = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if shard.stat().st_size != 8 + num_bytes + data_bytes:
        raise ValueError("cut off")
    return tuple(sums)


def read_entries(shard: Path, keys: Iterable[str]) -> dict[str, Entry]:
    """Those of the entries `keys` that are undamaged, mapped from the file. Raises ValueError or OSError if it is no shard."""
    try:
        with safe_open(shard, framework="pt") as file:
            sums = json.loads((file.metadata() or {}).get(SUMS, "{}"))
            names: dict[str, list[str]] = {}
            for full in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                names.setdefault(full.split("/", 1)[0], []).append(full)
            entries = {key: {full.split("/", 1)[1]: file.get_tensor(full) for full in names[key]} for key in keys if key in names}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {key: entry for key, entry in entries.items() if checksum(entry) == sums.get(key)}


def checksum(entry: Entry) -> int:
    """CRC-32 over names and bytes: guards against damage, not against malice."""
    total = 0
    for name, tensor in sorted(entry.items()):
        described = f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        total = zlib.crc32(tensor.reshape(-1).view(uint8).numpy().data, zlib.crc32(described, total))
    return total
