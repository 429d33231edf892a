"""Command line: one sub-command for each file in `aquatint.commands`. Nothing here knows any of them by name.

A command is a module with `run(config: SomeConfig) -> Iterator[Event | str]`; the annotation declares its settings and
the module's docstring is its help.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aquatint import __version__, launching, stopping
from aquatint.errors import AquatintError, shortage
from aquatint.registry import commands

if TYPE_CHECKING:
    from aquatint.config import Config

FLAGS = ("--help", "-h", "--help-all", "--show", "--strict")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    num_withheld = launching.processes_withheld()
    if num_withheld > 1:
        launching.relaunch(num_withheld, arguments)
    stopping.install_handlers()
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = stopping.EXIT_CODE
    except BrokenPipeError:  # `aquatint … | head`
        _silence()
        code = 0
    except Exception as error:
        known = shortage(error) or error
        if not isinstance(known, AquatintError):
            raise
        try:
            sys.stdout.flush()
        except OSError:  # the output goes to the disk that is full
            _silence()
        print(f"{_red('error')}: {known}", file=sys.stderr)
        code = known.exit_code
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """One command line -> exit code. Raises AquatintError for what the user can mend."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("--help", [])
    if name in ("--version", "-V"):
        print(f"aquatint {__version__}")
        return 0
    if name == "help" and rest and "help" not in commands:
        name, rest = rest[0], ["--help"]
    if name in ("--help", "-h", "--help-all", "help"):
        from aquatint.manual import overview

        print(overview({n.replace("_", "-"): commands.describe(n) for n in commands.names()}, __version__))
        return 0
    return run_command(name.replace("-", "_") if not name.startswith("-") else name, rest)


def run_command(name: str, arguments: list[str]) -> int:
    """Settle the settings, then run the command and show what it says."""
    module = commands[name]
    flags = {a for a in arguments if a in FLAGS}
    cls, rest = config_class(module), [a for a in arguments if a not in FLAGS]
    if flags & {"--help", "-h", "--help-all"}:
        from aquatint.manual import command_help

        print(command_help(name.replace("_", "-"), cls, text=module.__doc__ or "", is_complete="--help-all" in flags))
        return 0
    config = cls.read(rest)
    if "--show" in flags:
        print(config.to_yaml(), end="")
        return 0
    from aquatint import sinks

    events = module.run(config) or ()
    sinks.console(sinks.strict(events) if "--strict" in flags else events)
    return 0


def config_class(module: ModuleType) -> type[Config]:
    """The annotation of `run`'s first parameter is the single declaration of a command's settings."""
    annotation: Any = next(iter(inspect.signature(module.run).parameters.values())).annotation
    cls: type[Config] = eval(annotation, vars(module)) if isinstance(annotation, str) else annotation
    return cls


def _silence() -> None:
    """Nobody takes the output, and Python would try again at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text


if __name__ == "__main__":
    main()
