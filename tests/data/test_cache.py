"""Entries kept between runs: hits, misses, damage, killed writers, full and locked folders. R18, R19, R33."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aquatint.data import cache as module
from aquatint.data.cache import Crew, NotFinite, TensorCache, entry_key
from aquatint.data.kept import default_root
from aquatint.data.shards import keys_of


class Encoder:
    """Remembers what it was asked for; row i is a function of its key alone."""

    def __init__(self, keys: Sequence[str]):
        self.keys, self.batches = keys, []

    def __call__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        self.batches.append(list(indices))
        batch = torch.stack([truth(self.keys[i]) for i in indices])
        return [{"mean": batch[row], "embeds": batch[row, 0].to(torch.bfloat16)} for row in range(len(indices))]

    @property
    def asked(self) -> list[int]:
        return sorted(i for batch in self.batches for i in batch)


def truth(key: str) -> Tensor:
    return torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) + int(key[:6], 16)


def ask(root: Path, keys: Sequence[str], **options: object) -> tuple[Encoder, list[str]]:
    """What was computed, and the warnings; the answers are compared with the truth."""
    warnings: list[str] = []
    encoder = Encoder(keys)
    entries = TensorCache(root, warn=warnings.append).get_many(keys, encoder, **options)
    for key, entry in zip(keys, entries, strict=True):
        assert torch.equal(entry["mean"], truth(key))
        assert torch.equal(entry["embeds"], truth(key)[0].to(torch.bfloat16))
    return encoder, warnings


def keys_for(count: int, what: str = "") -> list[str]:
    return [entry_key(what, str(number)) for number in range(count)]


def test_computed_once_then_read(tmp_path: Path) -> None:
    keys = keys_for(10)
    assert ask(tmp_path, keys)[0].asked == list(range(10))
    assert ask(tmp_path, keys)[0].asked == []
    more = [*keys[5:], *keys_for(3, "new"), *keys[:2]]
    encoder, warnings = ask(tmp_path, more)
    assert [more[i] for i in encoder.asked] == keys_for(3, "new")
    assert not warnings


def test_equal_keys_are_computed_once(tmp_path: Path) -> None:
    keys = keys_for(3)
    assert len(ask(tmp_path, keys + keys)[0].asked) == 3


def test_batches_are_of_one_group_and_at_most_a_chunk(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    encoder, _ = ask(tmp_path, keys_for(11), chunk=3, group_of=lambda index: index % 2, progress=lambda *done: seen.append(done))
    assert encoder.batches == [[0, 2, 4], [6, 8, 10], [1, 3, 5], [7, 9]]
    assert seen == [(0, 11), (3, 11), (6, 11), (9, 11), (11, 11)]


def test_a_key_changes_with_every_part() -> None:
    parts = ("picture hash", "transform", "encoder", "dtype", "caption")
    changed = {entry_key(*(part + "!" * (i == j) for j, part in enumerate(parts))) for i in range(6)}
    assert len(changed) == 6
    assert entry_key("ab", "c") != entry_key("a", "bc") != entry_key("abc")


@pytest.mark.parametrize("cut", [0, 4, 60, 0.5, 0.98])
def test_a_cut_file_is_found_and_made_anew(cut: float, tmp_path: Path) -> None:
    keys = keys_for(6)
    ask(tmp_path, keys)
    (shard,) = tmp_path.glob("*.safetensors")
    os.truncate(shard, cut if isinstance(cut, int) else int(shard.stat().st_size * cut))
    encoder, warnings = ask(tmp_path, keys)
    assert encoder.asked == list(range(6))
    assert str(shard) in warnings[0]
    assert ask(tmp_path, keys) [0].asked == []


def test_one_flipped_bit_costs_one_entry(tmp_path: Path) -> None:
    keys = keys_for(6)
    ask(tmp_path, keys)
    (shard,) = tmp_path.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    encoder, warnings = ask(tmp_path, keys)
    assert len(encoder.asked) == 1
    assert "1 of its entries" in warnings[0]
    assert ask(tmp_path, keys)[0].asked == []


@pytest.mark.parametrize("content", [b"", b"junk", struct.pack("<Q", 2**40), struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b"{}"])
def test_a_foreign_file_does_no_harm(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    (tmp_path / "notes.txt").write_bytes(b"x")
    keys = keys_for(2)
    ask(tmp_path, keys)
    assert ask(tmp_path, keys)[0].asked == []
    assert (tmp_path / "notes.txt").exists()


def test_what_is_not_finite_is_named_and_never_kept(tmp_path: Path) -> None:
    keys = keys_for(4)

    def compute(indices: Sequence[int]) -> list[dict[str, Tensor]]:
        return [{"mean": torch.full((2,), torch.nan if i == 2 else 1.0)} for i in indices]

    with pytest.raises(NotFinite, match=r"encoded mean of cats/2\.png") as caught:
        TensorCache(tmp_path).get_many(keys, compute, name_of=lambda i: f"cats/{i}.png")
    assert caught.value.exit_code == 3
    kept = {key for shard in tmp_path.glob("*.safetensors") for key in keys_of(shard)}
    assert kept == set(keys[:2])


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    """The writer is killed between two batches; what it had flushed is found, nothing half-written is."""
    code = f"""
import os, signal, sys, torch
from pathlib import Path
from aquatint.data import cache
cache.FLUSH_SECONDS = 0.0
def compute(indices):
    if indices[0] >= 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return [{{"mean": torch.arange(24.).reshape(2, 3, 4) + int(keys[i][:6], 16), }} for i in indices]
keys = [cache.entry_key("", str(number)) for number in range(8)]
cache.TensorCache(Path({str(tmp_path)!r})).get_many(keys, compute)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    (tmp_path / "half.writing").write_bytes(b"left by a writer that was killed")
    os.utime(tmp_path / "half.writing", (0, 0))
    encoder = Encoder(keys_for(8))
    TensorCache(tmp_path).get_many(encoder.keys, encoder)
    assert encoder.asked == [5, 6, 7]
    assert not list(tmp_path.glob("*.writing"))


def test_a_folder_that_cannot_be_written_is_told_once_and_survived(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for root in (tmp_path / "file" / "cache", Path("/proc/nowhere")):
        encoder, warnings = ask(root, keys_for(4))
        assert encoder.asked == [0, 1, 2, 3]
        assert len(warnings) == 1
        assert "going on in memory" in warnings[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on file size stands for the full disk: writing fails midway with a real error."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        encoder, warnings = ask(tmp_path, keys_for(50))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(encoder.asked) == 50
    assert len(warnings) == 1
    assert not list(tmp_path.iterdir())


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    first, second = TensorCache(tmp_path), TensorCache(tmp_path)
    a, b = Encoder(keys_for(5, "a")), Encoder(keys_for(5, "b"))
    first.get_many(a.keys, a)
    second.get_many(b.keys, b)
    again = Encoder([*a.keys, *b.keys])
    first.get_many(again.keys, again)
    assert again.asked == []


def test_forty_thousand_entries_load_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = keys_for(40_000)
    cache = TensorCache(tmp_path)
    rows = torch.arange(40_000.0)[:, None].expand(-1, 16)
    cache.get_many(keys, lambda indices: [{"mean": rows[i]} for i in indices], chunk=4000)
    begun = time.process_time()
    entries = TensorCache(tmp_path).get_many(keys, Encoder(keys))
    assert time.process_time() - begun < 8
    assert [float(entries[i]["mean"][5]) for i in (0, 777, 39_999)] == [0.0, 777.0, 39_999.0]


def test_the_root_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("AQUATINT_CACHE")
    assert default_root() == Path.home() / ".cache" / "aquatint"
    assert module.FLUSH_SECONDS > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process holds is read from /proc")
def test_a_large_set_does_not_fill_the_memory(tmp_path: Path) -> None:
    """400 MiB are computed in a process that may hold 32 MiB more than at its start, apart from files that are mapped.

    Every block of 64 KiB or more is a mapping of its own there, so that what is counted is held by us, not kept back by the allocator.
    """
    program = f"""
import torch, sys
from pathlib import Path
from aquatint.data import cache
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024
cache.FLUSH_BYTES = 8 * 2**20
keys = [cache.entry_key(str(i)) for i in range(400)]
before, most = held(), 0
def compute(indices):
    global most
    most = max(most, held())
    return [{{"mean": torch.full((2**18,), float(i))}} for i in indices]
entries = cache.TensorCache(Path({str(tmp_path)!r})).get_many(keys, compute)
assert all(entry["mean"][7] == i for i, entry in enumerate(entries))
print(max(most, held()) - before)
"""
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_ARENA_MAX": "1"}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=exact).stdout
    assert float(said) < 32


@pytest.mark.parametrize("can_write", [True, False])
def test_a_crew_shares_the_work_and_computes_what_one_would(tmp_path: Path, can_write: bool) -> None:
    """Two threads as two processes: each computes half of the chunks that one would, or all where nothing can be handed over."""
    keys, root = keys_for(23), tmp_path / "cache"
    alone, _ = ask(tmp_path / "alone", keys, chunk=3)
    if not can_write:
        root.write_text("a file where the folder should be")
    barrier = threading.Barrier(2)
    encoders = [Encoder(keys), Encoder(keys)]

    def work(rank: int) -> list[Tensor]:
        cache = TensorCache(root, warn=lambda text: None, crew=Crew(rank, 2, lambda: barrier.wait(60)))
        return [entry["mean"] for entry in cache.get_many(keys, encoders[rank], chunk=3)]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(work, range(2)))
    for answer in answers:
        assert all(torch.equal(mean, truth(key)) for key, mean in zip(keys, answer, strict=True))
    batches = [encoder.batches for encoder in encoders]
    if can_write:
        assert sorted(batches[0] + batches[1]) == alone.batches
        assert [len(mine) for mine in batches] == [4, 4]
    else:
        assert [sorted(mine) for mine in batches] == [alone.batches] * 2
