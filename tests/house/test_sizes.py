"""Files and functions stay small enough to be read at once."""

import ast
from pathlib import Path

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_POSITIONAL = 400, 50, 7, 2


def test_files_are_at_most_400_lines(modules: dict[Path, ast.Module], root: Path) -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in modules}
    assert len(lengths) > 80
    long = [f"{path.relative_to(root)}: {length} lines" for path, length in lengths.items() if length > MAX_FILE_LINES]
    assert not long, "\n".join(long)


def test_functions_are_at_most_50_lines(functions) -> None:
    assert len(functions) > 300
    lengths = {where: (node.end_lineno or node.lineno) - node.lineno + 1 for where, node, _ in functions}
    long = [f"{where}: {length} lines" for where, length in lengths.items() if length > MAX_FUNCTION_LINES]
    assert not long, "\n".join(long)


def test_functions_have_at_most_7_parameters(functions) -> None:
    counts = {where: num_parameters(node, is_method) for where, node, is_method in functions}
    many = [f"{where}: {count} parameters" for where, count in counts.items() if count > MAX_PARAMETERS]
    assert not many, "\n".join(many)


def test_parameters_after_the_second_are_keyword_only(functions) -> None:
    """Not of `__dunder__` methods, whose callers Python wrote, nor of tests and fixtures, which pytest calls by name."""
    ours = [row for row in functions if not row[1].name.startswith(("__", "test_")) and not is_fixture(row[1])]
    counts = {where: num_positional(node, is_method) for where, node, is_method in ours}
    many = [f"{where}: {count} positional parameters" for where, count in counts.items() if count > MAX_POSITIONAL]
    assert not many, "\n".join(many)


def is_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def num_positional(node: ast.FunctionDef | ast.AsyncFunctionDef, is_method: bool) -> int:
    is_bound = is_method and not any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return len(node.args.posonlyargs) + len(node.args.args) - is_bound


def num_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, is_method: bool) -> int:
    return num_positional(node, is_method) + len(node.args.kwonlyargs)
