"""The run folder: what lies where."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aquatint.atomic import replacing
from aquatint.errors import BadRun

if TYPE_CHECKING:  # the checks before a run are done before torch is there
    from aquatint.training import checkpoint


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def facts(self) -> Path:
        return self.path / "facts.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def before_after(self) -> Path:
        return self.path / "before_after.png"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Inside, no other process may train here: the log is locked, and the kernel unlocks it when this process dies.

        Raises `BadRun` when another process is at it. Goes without where files cannot be locked, as on Windows.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                import fcntl

                fcntl.flock(stack.enter_context(self.log.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadRun(f"{self.path}: another process is training here; wait for its end, or choose another folder") from None
            except (ImportError, OSError):
                pass  # the log tells what it cannot write
            yield

    def samples(self, step: int) -> Path:
        return self.path / "samples" / f"step_{step:07d}"

    def read_facts(self) -> dict[str, Any]:
        """Raises `BadRun` when the run has not finished."""
        if not self.facts.is_file():
            hint = f"finish it with: aquatint resume {self.path}" if self.config.is_file() else "no run has been here"
            raise BadRun(f"{self.path}: there is no finished run in this folder; {hint}")
        facts: dict[str, Any] = json.loads(self.facts.read_text())
        return facts

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        with replacing(self.facts) as aside:  # its being there says that the run has finished
            aside.write_text(json.dumps(facts, indent=1, default=str))


def newest_checkpoint(folder: RunFolder) -> checkpoint.State:
    """Raises `BadRun` when there is no whole one."""
    from aquatint.training import checkpoint

    path = checkpoint.newest(folder.checkpoints)
    if path is None:
        raise BadRun(f"{folder.path}: there is no whole checkpoint to go on from (looked in {folder.checkpoints})")
    return checkpoint.load(path)
