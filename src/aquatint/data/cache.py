"""Encoded tensors kept between runs, addressed by all that they depend on, outside the user's folders."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch

from aquatint.data.shards import SUFFIX, Entry, keys_of, read_entries, write_shard
from aquatint.errors import AquatintError

FLUSH_BYTES = 64 * 2**20
FLUSH_ENTRIES = 20_000
"""Keeps a shard's header well under what safetensors reads."""
FLUSH_SECONDS = 30.0
"""A killed run loses at most this much work."""
STALE_SECONDS = 3600.0
"""Half-written files older than this have no writer any more."""

Compute = Callable[[Sequence[int]], Sequence[Mapping[str, torch.Tensor]]]
"""Indices, one batch of one group -> the named tensors of each."""


class NotFinite(AquatintError):
    """An encoder gave NaN or infinity for a picture or a caption."""

    exit_code = 3

    def __init__(self, name: str, tensor: str):
        advice = "The encoder overflows in this precision, or its weights are damaged: try precision=fp32 or bf16"
        super().__init__(f"the encoded {tensor} of {name} are not finite. {advice}.")


def entry_key(*parts: str) -> str:
    """Name of an entry: differs whenever any part does, also for ("ab", "c") and ("a", "bc")."""
    return blake2b(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts), digest_size=20).hexdigest()


def _on() -> None:
    """Nobody to wait for."""


@dataclass(frozen=True)
class Crew:
    """The processes that ask a cache for the same at the same time, and share the work."""

    rank: int = 0
    num: int = 1
    wait: Callable[[], None] = _on
    """Until all are here."""


class TensorCache:
    """Entries in one folder; several processes may use it at once.

    What is computed together is decided by the keys that are missing, in chunks: a crew of any size and a run that goes on after it
    was killed compute the same chunks, and so the same bits.
    """

    def __init__(self, root: Path, *, warn: Callable[[str], None] = warnings.warn, crew: Crew | None = None):
        self._root, self._warn, self._crew = root, warn, crew or Crew()
        self._can_write = True
        self._pending: dict[str, Entry] = {}
        self._pending_bytes, self._flushed = 0, time.monotonic()
        self._keys: dict[tuple[Path, int, int], tuple[str, ...]] = {}

    def get_many(
        self,
        keys: Sequence[str],
        compute: Compute,
        *,
        chunk: int = 1,
        group_of: Callable[[int], object] = lambda index: 0,
        name_of: Callable[[int], str] = str,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Entry]:
        """The entry of each key, read where it is whole and computed where it is not; on the CPU.

        `compute` gets at most `chunk` indices of one group at a time; equal keys are computed once. `progress` is told
        (entries at hand, entries asked for). Raises NotFinite, naming the entry by `name_of`; what was computed is kept.
        What is returned is mapped from files, so that a large set does not fill the memory.
        """
        progress = progress or (lambda done, total: None)
        self._crew.wait()
        found, num_keys = self._read(set(keys)), len(set(keys))
        self._crew.wait()  # all have seen the same, before anyone adds to it
        missing = {key: index for index, key in reversed(list(enumerate(keys))) if key not in found}
        chunks = list(_batches(sorted(missing.values()), chunk, group_of=group_of))
        progress(len(found), num_keys)
        for mine in (chunks[self._crew.rank :: self._crew.num], chunks):  # the second time what the others could not keep for all
            left = [indices for indices in mine if any(keys[index] not in found for index in indices)]
            try:
                for indices in left:
                    for index, computed in zip(indices, compute(indices), strict=True):
                        found[keys[index]] = self._keep(keys[index], _checked(computed, name_of(index)))
                    if self._is_flush_due():
                        found |= self._flush()
                    progress(len(found), num_keys)
            finally:
                found |= self._flush()
            self._crew.wait()
            found |= self._read({*missing} - {*found}) if self._crew.num > 1 else {}
        return [found[key] for key in keys]

    def _read(self, wanted: set[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for shard in self._shards():
            try:
                here = [key for key in self._keys_of(shard) if key in wanted and key not in found]
                whole = read_entries(shard, here) if here else {}
            except FileNotFoundError:  # another process took it away
                continue
            except PermissionError as error:
                self._warn(f"{shard} in the cache cannot be read ({error.strerror}): its entries are computed anew")
                continue
            except (ValueError, OSError) as error:
                self._discard(shard, str(error))
                continue
            if len(whole) < len(here):
                self._warn(f"{shard} in the cache is damaged: {len(here) - len(whole)} of its entries are computed anew")
            found.update(whole)
        return found

    def _keys_of(self, shard: Path) -> tuple[str, ...]:
        """Headers are read once for each state of a file."""
        status = shard.stat()
        state = shard, status.st_size, status.st_mtime_ns
        if state not in self._keys:
            self._keys[state] = keys_of(shard)
        return self._keys[state]

    def _shards(self) -> list[Path]:
        try:
            files = sorted(self._root.iterdir())
        except OSError:
            return []
        for leftover in files:
            if leftover.suffix == ".writing":
                _remove_stale(leftover)
        return [file for file in files if file.suffix == SUFFIX]

    def _discard(self, shard: Path, reason: str) -> None:
        self._warn(f"{shard} in the cache is damaged ({reason}): its entries are computed anew")
        try:
            shard.unlink()
        except OSError:
            return

    def _keep(self, key: str, entry: Entry) -> Entry:
        self._pending[key] = entry
        self._pending_bytes += sum(tensor.nbytes for tensor in entry.values())
        return entry

    def _is_flush_due(self) -> bool:
        is_full = self._pending_bytes >= FLUSH_BYTES or len(self._pending) >= FLUSH_ENTRIES
        return is_full or time.monotonic() - self._flushed >= FLUSH_SECONDS

    def _flush(self) -> dict[str, Entry]:
        """Those of the entries just written that can be mapped from their file, instead of those held."""
        mapped: dict[str, Entry] = {}
        if self._pending and self._can_write:
            try:
                mapped = read_entries(write_shard(self._root, self._pending), self._pending)
            except ValueError:  # damaged or taken away as soon as it was written: what is held is good
                mapped = {}
            except OSError as error:
                self._can_write = False
                reason = error.strerror or str(error)
                self._warn(f"the cache {self._root} cannot be written ({reason}): going on in memory, nothing is kept for the next run")
        self._pending, self._pending_bytes, self._flushed = {}, 0, time.monotonic()
        return mapped


def _batches(indices: Sequence[int], chunk: int, *, group_of: Callable[[int], object]) -> Iterator[list[int]]:
    """Indices of one group each, in order of their groups' first index."""
    groups: dict[object, list[int]] = {}
    for index in indices:
        groups.setdefault(group_of(index), []).append(index)
    for members in groups.values():
        for start in range(0, len(members), chunk):
            yield members[start : start + chunk]


def _checked(computed: Mapping[str, torch.Tensor], name: str) -> Entry:
    """Own copies on the CPU: a view would keep the whole batch alive. Raises NotFinite."""
    for tensor_name, tensor in computed.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NotFinite(name, tensor_name)
    return {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in computed.items()}


def _remove_stale(leftover: Path) -> None:
    try:
        if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
            leftover.unlink()
    except OSError:
        return
