"""The text of `--help`, made from the settings themselves. Plain text: it must be there at once."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aquatint.config import Config
    from aquatint.explanation import Setting

OPTIONS = {
    "--help": "The settings that matter most.",
    "--help-all": "All settings, and the names from other tools that are understood.",
    "--show": "Print the resolved settings as YAML and stop.",
    "--strict": "What would be a warning before training is an error.",
}


def overview(commands: Mapping[str, str], version: str) -> str:
    """All commands with a line each."""
    title = f"aquatint {version}: fine-tune diffusion models on your own images."
    usage = "usage: aquatint COMMAND [FILE.yaml] [name=value ...]"
    return "\n".join([title, "", usage, "", *_table(commands), "", "`aquatint COMMAND --help` lists the settings of a command."])


def command_help(name: str, cls: type[Config], *, text: str, is_complete: bool) -> str:
    """What a command does and its settings: the main ones, or all with their aliases."""
    from aquatint.explanation import explain_fields

    rows = explain_fields(cls)
    shown = [row for row in rows if is_complete or row.is_main or not cls.main]
    bare = "".join(f" [{p.rpartition('.')[2].upper()}]" for p in cls.positional)
    lines = [f"usage: aquatint {name} [FILE.yaml]{bare} [name=value ...]", "", text.strip(), ""]
    lines += [f"settings, as name=value or --name value{'' if is_complete else _count_hidden(len(rows) - len(shown))}:", ""]
    lines += _table({_left(row): _right(row, is_complete=is_complete) for row in shown})
    return "\n".join([*lines, "", "options:", "", *_table(OPTIONS)])


def _left(row: Setting) -> str:
    kind = f"  ({', '.join(row.kinds)})" if row.kinds else ""
    return f"{row.path}={row.default}{kind}" if row.default not in ("none", "required") else f"{row.path}={kind}"


def _right(row: Setting, *, is_complete: bool) -> str:
    required = "Required. " if row.default == "required" else ""
    values = f" One of: {', '.join(row.values)}." if row.values else ""
    aliases = f" Also: {', '.join(f'--{a}' for a in row.aliases)}." if is_complete and row.aliases else ""
    return f"{required}{row.help}{values}{aliases}"


def _count_hidden(count: int) -> str:
    return f" ({count} more with --help-all)" if count else ""


def _table(rows: Mapping[str, str], indent: int = 2) -> list[str]:
    """Two columns, the right one wrapped to the terminal; a long left one stands on a line of its own."""
    total = min(shutil.get_terminal_size((100, 24)).columns, 120)
    left = min(max(map(len, rows), default=0), 30)
    lines = []
    for name, text in rows.items():
        wrapped = textwrap.wrap(text, max(total - indent - left - 2, 30)) or [""]
        if len(name) > left:
            lines.append(f"{' ' * indent}{name}")
            name = ""
        lines.append(f"{' ' * indent}{name:<{left}}  {wrapped[0]}".rstrip())
        lines += [f"{' ' * (indent + left + 2)}{line}" for line in wrapped[1:]]
    return lines
