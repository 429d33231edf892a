"""Modules are named for what they hold, and no text knows the machine it was written on."""

import ast
import re
from pathlib import Path

EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "stuff", "tools"}
SOMEBODYS = ("root", "home", "Users", "work/main", "work/shared")
MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(" + "|".join(SOMEBODYS) + r")/|[A-Z]:\\" + "Users")


def test_no_module_is_called_utils_or_by_its_version(modules: dict[Path, ast.Module], root: Path) -> None:
    empty = [
        str(path.relative_to(root))
        for path in modules
        if EMPTY_WORDS & {part for name in path.relative_to(root).with_suffix("").parts for part in name.split("_")}
        or re.search(r"_?v\d+$", path.stem)
    ]
    assert not empty


def test_no_text_mentions_a_path_of_one_machine(project_files: list[Path], root: Path) -> None:
    texts = {path: text for path in project_files if (text := _text(path)) is not None}
    assert len(texts) > 80
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()[:120]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert not found, "\n".join(found)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
