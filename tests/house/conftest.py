"""The project's own files, as the tests of the house read them."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Everything that is, or is about to be, under version control."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in sorted(set(listed.decode().split("\0"))) if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="session")
def modules(project_files: list[Path]) -> dict[Path, ast.Module]:
    """Every Python file, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in project_files if path.suffix == ".py"}


@pytest.fixture(scope="session")
def functions(modules: dict[Path, ast.Module]) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """(file:line name, the function, whether it is a method) of every `def` in the project."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node, is_method)
        for path, tree in modules.items()
        for node, is_method in _definitions(tree, False)
    ]


def _definitions(parent: ast.AST, is_class: bool) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, is_class
        yield from _definitions(node, isinstance(node, ast.ClassDef))
