"""The oldest Python that the project promises: nothing newer is used, whatever Python the tests run on."""

import ast
import re
from pathlib import Path

NEWER = {
    "typing": {"Self", "Never", "LiteralString", "assert_never", "assert_type", "Required", "NotRequired", "Unpack", "override"},
    "datetime": {"UTC"},
    "enum": {"StrEnum", "ReprEnum", "verify"},
    "hashlib": {"file_digest"},
    "contextlib": {"chdir"},
    "itertools": {"batched"},
    "asyncio": {"TaskGroup", "timeout", "Runner"},
    "tomllib": {"load", "loads"},
}
NAMES = {"ExceptionGroup", "BaseExceptionGroup"}


def test_the_promise_is_3_10(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    assert re.search(r'requires-python = ">=3\.10"', text)
    assert re.search(r'target-version = "py310"', text)


def test_nothing_newer_than_3_10_is_used(modules: dict[Path, ast.Module], root: Path) -> None:
    newer = [f"{path.relative_to(root)}:{line}: {what}" for path, tree in modules.items() for line, what in _newer(tree)]
    assert len(modules) > 80
    assert not newer, "\n".join(newer)


def test_every_file_is_3_10_grammar(modules: dict[Path, ast.Module]) -> None:
    for path in modules:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))
    assert len(modules) > 80


def test_the_rule_catches_what_it_is_for() -> None:
    caught = ["from typing import Self", "import hashlib\nhashlib.file_digest(f, '')", "import tomllib", "raise ExceptionGroup('', [])"]
    assert [len(list(_newer(ast.parse(text)))) for text in caught] == [1] * len(caught)
    assert not list(_newer(ast.parse("from typing_extensions import Self\nhashlib.sha256()")))


def _newer(tree: ast.Module):
    """(line, name) of what came with Python 3.11 or later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name == "tomllib")
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{a.name}") for a in node.names if a.name in NEWER.get(node.module or "", ()))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in NEWER.get(node.value.id, ()):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield node.lineno, node.id
