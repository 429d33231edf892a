"""The tests themselves: all of them run, and none passes because it looked at nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ENUMERATING = {"glob", "rglob", "iterdir", "iter_modules", "walk_packages", "names", "load_all", "variants"}


def test_pytest_finds_every_test_file(project_files: list[Path], root: Path) -> None:
    written = {p.relative_to(root).as_posix() for p in project_files if p.is_relative_to(root / "tests") and p.name.startswith("test")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", "tests"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
    found = {line.partition("::")[0] for line in ended.stdout.splitlines() if "::" in line}
    assert len(written) > 10
    assert written == found, ended.stdout[-2000:]


def test_test_functions_are_where_pytest_looks(modules: dict[Path, ast.Module], root: Path) -> None:
    lost = [
        f"{path.relative_to(root)}:{node.lineno} {node.name}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not path.name.startswith("test_")
    ]
    assert not lost


def test_what_enumerates_asserts_how_many_it_found(modules: dict[Path, ast.Module], root: Path) -> None:
    tests = {path: tree for path, tree in modules.items() if path.is_relative_to(root / "tests")}
    assert len(tests) > 10
    vacuous = [f"{path.relative_to(root)}:{line}: {why}" for path, tree in tests.items() for line, why in _vacuous(tree)]
    assert not vacuous, "\n".join(vacuous)


def test_the_rule_catches_what_it_is_for() -> None:
    caught = [
        "@mark.parametrize('p', ROOT.glob('*'))\ndef test(p): assert p",
        "PARTS = sorted(R.names())\n@mark.parametrize('p', PARTS)\ndef test(p): assert p",
        "def test():\n for p in R.iterdir():\n  assert p",
        "def test(): assert all(p for p in R.rglob('*'))",
        "def test():\n found = list(R.glob('*'))\n for p in found:\n  assert p",
    ]
    passed = [
        "PARTS = sorted(R.names())\n@mark.parametrize('p', PARTS)\ndef test(p): assert p\ndef test_all(): assert len(PARTS) > 3",
        "def test():\n found = list(R.glob('*'))\n assert len(found) == 2\n for p in found:\n  assert p",
        "def test(): assert [p.name for p in R.iterdir()] == ['a']",
        "def test(): assert any(R.glob('*'))",
        "def test(): assert not list(R.glob('*'))",
    ]
    assert [len(list(_vacuous(ast.parse(text)))) for text in caught] == [1] * len(caught)
    assert [len(list(_vacuous(ast.parse(text)))) for text in passed] == [0] * len(passed)


def _vacuous(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Places that would pass if the enumeration found nothing."""
    yield from _uncounted(tree.body, tree)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if _is_parametrize(decorator) and _enumerates(decorator):
                yield decorator.lineno, "parametrized over an enumeration that no test counts; give it a name, and assert how many it holds"
        yield from _uncounted(function.body, function)
        for node in ast.walk(function):
            if isinstance(node, ast.For) and _enumerates(node.iter) and any(isinstance(n, ast.Assert) for n in ast.walk(node)):
                yield node.lineno, "asserts inside a loop that may be empty; give what it loops over a name, and assert how many there are"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "all" and _enumerates(node):
                yield node.lineno, "all(...) of nothing is true; assert how many there are"


def _uncounted(body: list[ast.stmt], scope: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that hold an enumeration, feed a loop of assertions or a parametrization, and stand in no other assertion."""
    for statement in body:
        if isinstance(statement, ast.Assign) and _enumerates(statement.value) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if _feeds(name, scope) and not _is_counted(name, scope):
                yield statement.lineno, f"{name} may be empty; assert how many it holds"


def _feeds(name: str, scope: ast.AST) -> bool:
    loops = [n.iter for n in ast.walk(scope) if isinstance(n, ast.For) and any(isinstance(a, ast.Assert) for a in ast.walk(n))]
    return any(name in _names(n) for n in loops) or any(name in _names(n) for n in ast.walk(scope) if _is_parametrize(n))


def _is_counted(name: str, scope: ast.AST) -> bool:
    return any(isinstance(node, ast.Assert) and name in _names(node.test) for node in ast.walk(scope))


def _enumerates(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in ENUMERATING for n in ast.walk(node))


def _is_parametrize(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parametrize"


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
