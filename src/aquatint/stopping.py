"""Ending a run from outside: the first signal asks, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_CODE = 130
PATIENCE_SECONDS = 4.5
"""How long an interrupted phase may take to clean up."""

_requested = threading.Event()
_depth = 0


def request_stop() -> None:
    """Ask the run to end after its step. Safe from any thread."""
    _requested.set()


def is_stop_requested() -> bool:
    return _requested.is_set()


def clear() -> None:
    """Forget the request, before another run in the same process."""
    _requested.clear()


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, a first signal only sets the flag: the code polls `is_stop_requested` and ends by itself."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def install_handlers() -> None:
    """For SIGINT and SIGTERM. Does nothing outside the main thread, where Python takes no signals."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _handle)
        signal.signal(signal.SIGTERM, _handle)


def _handle(signum: int, frame: FrameType | None) -> None:
    if is_stop_requested():
        _leave()
    request_stop()
    if _depth:
        _say("stopping after this step, then saving; once more to leave at once")
        return
    deadline = threading.Timer(PATIENCE_SECONDS, _leave)
    deadline.daemon = True
    deadline.start()
    raise KeyboardInterrupt


def _leave() -> None:
    """Without cleaning up: files are written aside and renamed, so none is left half-written."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    os._exit(EXIT_CODE)


def _say(text: str) -> None:
    """Straight to the descriptor: a signal may arrive while Python's own buffers are locked."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
