"""Every `aquatint …` line in the documents names commands and settings that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from aquatint.cli import FLAGS, config_class
from aquatint.config import SettingsError
from aquatint.registry import commands

FENCE = re.compile(r"^```[ \t]*(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
SHELL = {"", "bash", "sh", "shell", "console"}
CALL = re.compile(
    r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?"  # a prompt, variables, a place
    r"(?:(?:python3?|accelerate launch(?: --?\w+(?:[= ]\S+)?)*) -m )?"
    r"aquatint(?: |$)"
)
MISSING = re.compile(r"there is no (picture|folder|module) ")
"""What guidances are told by is looked for with the settings, and lies where the reader is."""


def test_the_commands_in_the_documents_exist(project_files: list[Path], root: Path) -> None:
    documents = [path for path in project_files if path.suffix == ".md"]
    called = [(path, line) for path in documents for line in calls(path.read_text(encoding="utf-8"))]
    assert len(documents) >= 5
    assert len(called) >= 6
    wrong = [f"{path.relative_to(root)}: {line}: {problem}" for path, line in called for problem in problems(line)]
    assert not wrong, "\n".join(wrong)


def test_make_targets_in_the_documents_exist(project_files: list[Path], root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in project_files if path.suffix == ".md")
    named = set(re.findall(r"`make ([a-z]+)`", text)) | set(re.findall(r"^ *make ([a-z]+)", text, re.MULTILINE))
    assert len(named) >= 3
    assert named <= targets


def test_a_wrong_command_is_seen() -> None:
    assert list(problems("aquatint train data=photos method.rank=8")) == []
    assert list(problems("aquatint train RUN/config.yaml --rank 4")) == []
    assert list(problems("python -m aquatint train --train_data_dir photos --max_train_steps=100")) == []
    assert "no_such_setting" in "".join(problems("aquatint train data=photos no_such_setting=8"))
    assert "tarin" in "".join(problems("aquatint tarin data=photos"))
    assert "steps" in "".join(problems("aquatint train data=photos steps=many"))
    assert "data" in "".join(problems("aquatint train steps=8"))


def test_calls_are_found_in_shell_blocks_alone() -> None:
    shell = "```bash\n# comment\naquatint train \\\n  data=a  # why\nls\n$ python -m aquatint doctor\n```\n"
    text = f"`aquatint x`\n{shell}```python\naquatint y\n```\naquatint z\n\n    aquatint resume \\\n      a\n"
    assert [" ".join(line.split()) for line in calls(text)] == [
        "aquatint train data=a # why",
        "python -m aquatint doctor",
        "aquatint resume a",
    ]


def calls(text: str) -> Iterator[str]:
    """The lines of a document's shell blocks, fenced or indented, that call aquatint; continued lines joined."""
    fenced = [block["code"] for block in FENCE.finditer(text) if block["language"] in SHELL]
    indented = INDENTED.findall(FENCE.sub("", text))
    for code in (*fenced, *indented):
        lines = (line.strip() for line in code.replace("\\\n", " ").splitlines())
        yield from (line.removeprefix("$ ") for line in lines if CALL.match(line))


def problems(line: str) -> Iterator[str]:
    """What the command line would refuse, short of looking at files."""
    call = CALL.match(line)
    words = shlex.split(line[call.end() :], comments=True) if call else []
    if not words or words[0].startswith("-"):
        return
    name, *arguments = words
    if name.replace("-", "_") not in commands:
        yield f"there is no command {name}"
        return
    files = [a for a in arguments if a.endswith((".yaml", ".yml")) and "=" not in a]
    if {"--help", "-h", "--help-all"} & set(arguments):
        return
    try:
        config_class(commands[name.replace("-", "_")]).read([a for a in arguments if a not in FLAGS and a not in files])
    except SettingsError as error:
        yield from (str(problem) for problem in error.problems if not (files and "required" in problem) and not MISSING.search(problem))


def test_the_map_names_every_file(root: Path) -> None:
    """Room by room: each section of docs/architecture.md lists the files of its folder, once, and no other."""
    sections = re.split(r"^### ", (root / "docs" / "architecture.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    listed = [(_room(section), re.findall(r"^\| `(\w+\.py)` \|", section, re.MULTILINE)) for section in sections]
    assert not [(room, name) for room, files in listed for name in files if files.count(name) > 1]
    mapped = {room: set(files) for room, files in listed if files}
    package = root / "src" / "aquatint"
    there: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        if path.stat().st_size or path.parent == package:
            there.setdefault(path.parent.relative_to(package).as_posix(), set()).add(path.name)
    assert len(there) >= 9
    assert mapped == there


def _room(section: str) -> str:
    named = re.match(r"`([\w/]+)/`", section)
    return named[1] if named else "."
