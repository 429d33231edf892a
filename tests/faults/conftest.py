"""Processes of our own that are killed: forked from this one, so that each begins with everything imported."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from safetensors import safe_open
from torch import Tensor

PATIENCE_SECONDS = 180.0
FILE = "pytorch_lora_weights.safetensors"


class Child:
    """A forked process that runs `act` with its output in a file, and ends with what it returns."""

    def __init__(self, act: Callable[[], int], output: Path):
        self.output = output
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                _write_to(output)
                code = act()
            finally:
                os._exit(code)

    def is_alive(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        _wait_until(lambda: not self.is_alive(), f"the end of a process\n{self.text()}")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill_when(self, is_time: Callable[[], object]) -> None:
        """SIGKILL as soon as that holds; the process must be at work until then."""
        self.signal_when(is_time, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def signal_when(self, is_time: Callable[[], object], signum: int) -> None:
        _wait_until(lambda: is_time() or not self.is_alive(), f"the moment for signal {signum}")
        assert self.is_alive(), f"it ended before signal {signum}:\n{self.text()}"
        os.kill(self.pid, signum)

    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def _write_to(output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115 - the process ends with them


def _wait_until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(0.0005)


def _command(arguments: tuple[str, ...]) -> int:
    from aquatint import cli

    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 71


@pytest.fixture
def fork(tmp_path) -> Iterator[Callable[[Callable[[], int]], Child]]:
    """Run a function in a process of its own. None outlives the test."""
    children: list[Child] = []

    def start(act: Callable[[], int]) -> Child:
        children.append(Child(act, tmp_path / f"output-{len(children)}.txt"))
        return children[-1]

    yield start
    for child in children:
        try:
            if child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        except ChildProcessError:  # it was waited for
            continue


@pytest.fixture
def aquatint(fork) -> Callable[..., Child]:
    """`aquatint ARGUMENTS` in a process of its own."""
    return lambda *arguments: fork(lambda: _command(tuple(map(str, arguments))))


@pytest.fixture(scope="session")
def settings() -> tuple[str, ...]:
    """A short run with all that has a state: warm-up, accumulation, moving average, text encoder; nothing drawn on the way."""
    return (
        "steps=10", "batch_size=1", "accumulate=2", "ema=0.9", "method.rank=2", "method.text_encoder=true", "optimizer.warmup_steps=4",
        "lr=0.01", "images.flip=true", "loss.caption_dropout=0.2", "precision=fp32", "checkpoints.every=2", "seed=3",
        "samples.every=0", "samples.num_steps=1", "samples.prompts=a disc", "validation.every=0",
    )  # fmt: skip


@pytest.fixture(scope="session")
def tensors_of() -> Callable[[Path], Mapping[str, Tensor]]:
    """Run folder -> the tensors of its file."""

    def read(run: Path) -> Mapping[str, Tensor]:
        with safe_open(run / FILE, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a safetensors file is no mapping

    return read
