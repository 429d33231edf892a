"""Readers of the event stream: the console and the log file."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from aquatint.errors import AquatintError
from aquatint.training.events import Event, Finished, Noted, Sampled, Saved, Skipped, Started, Stepped, Stopped, Validated

if TYPE_CHECKING:
    from rich.console import Console

NUM_PLAIN_LINES = 20
"""Progress lines of a run whose output is not a terminal."""
T = TypeVar("T")


class Refused(AquatintError):
    """A warning before training, under --strict."""

    exit_code = 1


def is_main_process() -> bool:
    """Whether this is the process that speaks; launchers number the processes in RANK."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0


def console(events: Iterable[Any], *, out: TextIO | None = None) -> None:
    """Read the stream to its end and show it: a progress bar on a terminal, else about twenty lines.

    Strings are printed as they are, and anything else that is not an event by rich.
    """
    out = out or sys.stdout
    with _closing(events):
        if not is_main_process():
            for _ in events:
                pass
        elif out.isatty():
            _show_live(events, out)
        else:
            _show_plain(events, out)


def log(events: Iterable[T], path: Path) -> Iterator[T]:
    """Pass events on, and append each to `path` as one JSON line with its name and wall time (seconds since 1970).

    A log that cannot be written (a full disk) does not stop the run.
    """
    is_writing = is_main_process()
    with _closing(events):
        for event in events:
            if is_writing and (line := to_json(event)):
                try:
                    with path.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")
                except OSError as error:
                    is_writing = False
                    print(f"warning: {path} cannot be written ({error.strerror}); the run goes on without it", file=sys.stderr)
            yield event


def strict(events: Iterable[T]) -> Iterator[T]:
    """Pass events on; a warning before training starts ends the run as an error."""
    is_training = False
    with _closing(events):
        for event in events:
            is_training = is_training or isinstance(event, Started)
            if isinstance(event, Noted) and event.is_warning and not is_training:
                raise Refused(f"{event.text} (an error because of --strict)")
            yield event


def to_json(event: object) -> str:
    """One line, or "" for what has no place in a log. Values that are not finite become null, which JSON can say."""
    if isinstance(event, str):
        content: dict[str, Any] = {"event": "Text", "text": event}
    elif is_dataclass(event):
        content = {"event": type(event).__name__, **{f.name: getattr(event, f.name) for f in fields(event)}}
    else:
        return ""
    return json.dumps(_finite({**content, "time": round(time.time(), 3)}), default=str, ensure_ascii=False)


@dataclass
class Pace:
    """What is remembered of the steps so far."""

    num_steps: int = 0
    step: int = 0
    loss: float = math.nan
    """Smoothed over about twenty steps."""
    prior_loss: float | None = None
    """The part of it that is the prior's, smoothed likewise; None without a prior."""
    seconds: float = math.nan
    """Of a step, smoothed likewise."""
    num_images: int = 0
    """Of the last step; 0 if the event does not say."""
    _num_seen: int = 0

    def take(self, event: Stepped) -> None:
        self._num_seen += 1
        share = max(0.05, 1 / self._num_seen)
        self.step, self.num_images = event.step, getattr(event, "num_images", 0)
        self.loss = _blend(self.loss, event.loss, share=share)
        if event.prior_loss is not None:
            self.prior_loss = _blend(math.nan if self.prior_loss is None else self.prior_loss, event.prior_loss, share=share)
        self.seconds = _blend(self.seconds, event.seconds, share=share)

    def describe(self) -> str:
        rate = f"{1 / self.seconds:.2f} steps/s" if self.seconds >= 0.01 else f"{1 / max(self.seconds, 1e-9):.0f} steps/s"
        images = f"  {self.num_images / self.seconds:.1f} images/s" if self.num_images else ""
        left = duration((self.num_steps - self.step) * self.seconds)
        prior = "" if self.prior_loss is None else f" ({self.prior_loss:.4f} the prior's)"
        return f"loss {self.loss:.4f}{prior}  {rate}{images}  {left} left  {_memory()}"


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def sentence(event: Event) -> str:
    """A line about an event that is rare enough to deserve one."""
    match event:
        case Noted(text=text, is_warning=is_warning):
            return f"warning: {text}" if is_warning else text
        case Started(num_steps=num_steps, num_trainable=num_trainable, step=step):
            return f"training {num_trainable:,} numbers for {num_steps} steps" + (f", from step {step}" if step else "")
        case Skipped(step=step, loss=loss, gradient_norm=norm):
            return f"warning: step {step} skipped, its loss was {loss} and its gradient {norm}"
        case Validated(step=step, loss=loss):
            return f"step {step}: validation loss {loss:.4f}"
        case Sampled(step=step, paths=paths):
            return f"step {step}: drew {len(paths)} samples into {paths[0].parent}" if paths else f"step {step}: no samples"
        case Saved(step=step, path=path):
            return f"step {step}: saved {path}"
        case Stopped(step=step, path=path):
            return f"stopped after step {step}, the state is saved; go on with\n  aquatint resume {run_dir(path)}"
        case Finished(seconds=seconds, measures=measures):
            numbers = "".join(f"\n  {name} {value:,.4g}" for name, value in measures.items())
            return f"finished after {duration(seconds)}{numbers}"
    return f"step {event.step}: {type(event).__name__.lower()}"


def run_dir(checkpoint: Path) -> Path:
    """The run that a checkpoint belongs to: the nearest folder above it that holds settings."""
    return next((folder for folder in checkpoint.parents if (folder / "config.yaml").exists()), checkpoint.parent.parent)


def _show_plain(events: Iterable[Any], out: TextIO) -> None:
    pace, printed, rich_console = Pace(), -1, None
    for event in events:
        if isinstance(event, Started):
            pace = Pace(num_steps=event.num_steps, step=event.step)
        if isinstance(event, Stepped):
            pace.take(event)
            part = event.step * NUM_PLAIN_LINES // max(pace.num_steps, 1)
            if part == printed and event.step < pace.num_steps:
                continue
            printed = part
            print(f"step {event.step}/{pace.num_steps}  {pace.describe()}", file=out, flush=True)
        elif isinstance(event, (Event, str)):
            print(event if isinstance(event, str) else sentence(event), file=out, flush=True)
        else:
            rich_console = rich_console or _console(out, width=160)
            rich_console.print(event)
            out.flush()


def _show_live(events: Iterable[Any], out: TextIO) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    terminal, pace = _console(out), Pace()
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
    progress = Progress(*columns, console=terminal, transient=False, auto_refresh=False)
    is_live, task = False, progress.add_task("", total=None)
    try:
        for event in events:
            if isinstance(event, Started):
                pace = Pace(num_steps=event.num_steps, step=event.step)
                progress.update(task, total=event.num_steps, completed=event.step)
                progress.start()
                is_live = True
            if isinstance(event, Stepped):
                pace.take(event)
                if is_live:
                    progress.update(task, completed=event.step, description=pace.describe(), refresh=True)
            elif isinstance(event, (Event, str)):
                _print_line(terminal, event)
            else:
                terminal.print(event)
            if isinstance(event, (Stopped, Finished)) and is_live:
                progress.stop()
                is_live = False
    finally:
        if is_live:
            progress.stop()


def _print_line(terminal: Console, event: Event | str) -> None:
    text = event if isinstance(event, str) else sentence(event)
    style = "yellow" if isinstance(event, Skipped) or (isinstance(event, Noted) and event.is_warning) else None
    terminal.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _console(out: TextIO, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(file=out, width=width)


def _memory() -> str:
    """What this process holds now, and the device's peak if a GPU is in use."""
    import psutil

    text = f"{psutil.Process().memory_info().rss / 2**30:.1f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        text += f" + {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the GPU"
    return text


def _blend(average: float, value: float, *, share: float) -> float:
    return value if math.isnan(average) else average + share * (value - average)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def _closing(events: Iterable[Any]) -> Any:
    """Closing a run early saves its state, so it must not wait for garbage collection."""
    close: Callable[[], object] | None = getattr(events, "close", None)
    return closing(events) if close else nullcontext()
