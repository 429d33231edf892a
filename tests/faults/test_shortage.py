"""A disk or a memory that is full, wherever it shows: one sentence, exit code 5, and the run can go on."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from aquatint.errors import BadBase, shortage

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
"""A shell that may mount file systems, which nobody else sees."""
FULL, ENOUGH = 16, 10_000
"""Files that the small disk may hold."""
SCRIPT = f"""
mount -t tmpfs -o nr_inodes={FULL} none "$0"
"$@" || code=$?
find "$0" -name '*.writing' > "$0.left"
cp -r "$0/run/checkpoints" "$0.kept"
mount -o remount,nr_inodes={ENOUGH} "$0"
{sys.executable} -m aquatint resume "$0/run"
cp "$0/run/facts.json" "$0.facts"
exit $code
"""


def can_mount():
    return shutil.which("unshare") and not subprocess.run([*UNSHARE, "mount -t tmpfs none /mnt"], capture_output=True).returncode


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces")
def test_a_run_whose_disk_fills_up_is_told_so_and_goes_on(tiny_sd, photos, settings, tmp_path):
    """A disk without a free inode is full to whoever creates a file: it has room for one state and half another."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "aquatint", "train", f"data={photos}", f"base={tiny_sd}", f"out={disk / 'run'}", *settings]
    ended = subprocess.run([*UNSHARE, SCRIPT, str(disk), *command], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 5, ended.stdout + ended.stderr
    assert "error: the disk is full (" in ended.stderr
    assert "No space left on device" in ended.stderr
    assert "aquatint resume" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert Path(f"{disk}.left").read_text() == ""
    assert list(Path(f"{disk}.kept").glob("step_*/manifest.json"))
    assert json.loads(Path(f"{disk}.facts").read_text())["steps"] == 10


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_told():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-m", "aquatint", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 5
    assert ended.stderr.startswith("error: the disk is full ([Errno 28] No space left on device).")
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads from /proc what it holds")
def test_a_picture_larger_than_the_memory_is_told(fork, tiny_sd, tmp_path):
    import resource

    from aquatint import cli

    def act():
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + 500 * 2**20,) * 2)
        try:
            cli.main(["generate", str(tiny_sd), "prompt=a disc", "size=[16000,16000]", "steps=1", f"out={tmp_path}", "cpu=true"])
        except SystemExit as end:
            return int(end.code)

    child = fork(act)
    assert child.wait() == 5, child.text()
    assert "error: the memory is full (" in child.text()
    assert "a smaller size=" in child.text()
    assert "Traceback" not in child.text()


def raised_from(cause):
    error = BadBase("base=x: broken")
    error.__cause__ = cause
    return error


SHORTAGES = [
    (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "disk"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), "memory"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
    (MemoryError(), "memory"),
    (raised_from(OSError(errno.ENOSPC, "No space left on device")), "disk"),
]  # fmt: skip
OTHERS = [
    OSError(errno.ENOENT, "No such file or directory", "x"), RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("memory"),
    SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)"), BadBase("base=x: out of memory"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind"), SHORTAGES)
def test_what_libraries_say_of_it_is_understood(error, kind):
    told = shortage(error)
    assert told is not None
    assert told.exit_code == 5
    assert str(told).startswith(f"the {kind} is full (")


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_keep_their_traceback(error):
    assert len(OTHERS) == 5
    assert len(SHORTAGES) == 10
    assert shortage(error) is None
