"""From files and command line to one tree of settings. Text is read by the type of the setting it is for.

`trigger=no` is the word "no" where a setting is a string and False where it is a switch; `lr=1e-4` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aquatint.annotations import is_flag, item, literals, mapping, members, section, sequence, variant_of
from aquatint.config import Choice, Config, Problem
from aquatint.plain_text import Plain, load_yaml, number_or_word, settle
from aquatint.presets import meant

ASSIGNMENT = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
OPTION = re.compile(r"--(?P<key>[A-Za-z_][\w.-]*)(=(?P<value>.*))?", re.DOTALL)
SWITCH_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "1", "0"])

Parts = tuple[str, ...]
Read = tuple[dict[str, Any], dict[str, str], list[Problem]]


@dataclass(frozen=True)
class Assignment:
    parts: Parts
    """Path in our own names."""
    value: Any
    spelling: str
    """As the user wrote the name."""


def read_tree(cls: type[Config], arguments: Sequence[str], *, files: Sequence[Path] = ()) -> Read:
    """The tree of settings (typed values), how each path was spelled, and what could not be understood."""
    tree: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    given, more_files, problems = read_arguments(cls, arguments)
    sources = []
    for file in [*files, *more_files]:
        content, found = load_yaml(file)
        problems += found
        sources.append([a for name, value in content.items() for a in assign(cls, name, value=value)])
    for source in [*sources, given]:
        problems += contradictions(source)
        for layer in _layers(cls, source):
            for assignment in sorted(layer, key=lambda a: (a.parts[-1] != "kind", len(a.parts))):
                _put(cls, tree, assignment=assignment)
                spellings[".".join(assignment.parts)] = assignment.spelling
    return settle(tree, cls), spellings, problems


def read_arguments(cls: type[Config], arguments: Sequence[str]) -> tuple[list[Assignment], list[Path], list[Problem]]:
    """Command line -> assignments, YAML files, problems."""
    given: list[Assignment] = []
    bare: list[str] = []
    problems: list[Problem] = []
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        if match := OPTION.fullmatch(token):
            value = match["value"] if match["value"] is not None else _take_value(cls, match["key"], rest=rest)
            if value is None:
                problems.append(Problem(match["key"], f"--{match['key']} needs a value"))
            else:
                given += assign(cls, match["key"], value=_plain(value), spelling=f"--{match['key']}")
        elif match := ASSIGNMENT.fullmatch(token):
            given += assign(cls, match["key"], value=Plain(match["value"]))
        elif token.startswith("-"):
            problems.append(Problem("", f"{token!r} is not an option; settings are written name=value or --name value"))
        else:
            bare.append(token)
    files = [Path(token) for token in bare if token.endswith((".yaml", ".yml"))]
    positional, unplaced = _place(cls, [token for token in bare if not token.endswith((".yaml", ".yml"))])
    return [*given, *positional], files, [*problems, *unplaced]


def assign(cls: type[Config], name: str, *, value: Any, spelling: str = "") -> Iterator[Assignment]:
    """One setting, or a section of them, as assignments to single settings in our own names."""
    parts, annotation, fixed = locate(cls, tuple(name.split(".")))
    spelling = spelling or name
    if fixed is not None:
        if number_or_word(value) not in (False, 0, "no", "off"):
            yield from _spread(cls, parts, value=Plain(fixed), annotation=annotation, spelling=spelling)
    else:
        yield from _spread(cls, parts, value=value, annotation=annotation, spelling=spelling)


def locate(cls: type[Config], parts: Parts) -> tuple[Parts, Any, str | None]:
    """A name in any spelling -> path in our names, type of the setting, and the value it stands for if it is a switch.

    Unknown names come back as they are, with the type Any.
    """
    head, rest = parts[0], parts[1:]
    for candidate in _alternatives(cls):
        for name in (head, head.replace("-", "_")):
            if name in candidate.model_fields:
                annotation = candidate.model_fields[name].annotation
                found = _descend(annotation, rest)
                return (name, *found[0]), found[1], found[2]
            if name in candidate.aliases:
                target, _, fixed = candidate.aliases[name].partition("=")
                path, annotation, inner = locate(cls, (*target.split("."), *rest))
                return path, annotation, fixed or inner
    return parts, Any, None


def contradictions(source: Sequence[Assignment]) -> list[Problem]:
    """One source may not say two things about one setting."""
    first: dict[Parts, Assignment] = {}
    problems = []
    for a in source:
        earlier = first.setdefault(a.parts, a)
        if number_or_word(earlier.value) != number_or_word(a.value):
            both = f"{earlier.spelling}={earlier.value} and {a.spelling}={a.value}"
            problems.append(Problem(".".join(a.parts), f"given twice, with different values: {both}"))
    for parts, a in first.items():
        for length in range(1, len(parts)):
            if (above := first.get(parts[:length])) and not isinstance(above.value, Mapping):
                both = f"{above.spelling}={above.value} and {a.spelling}={a.value}"
                problems.append(Problem(".".join(a.parts), f"given together with a value for the whole section: {both}"))
    return problems


def _layers(cls: type[Config], source: Sequence[Assignment]) -> list[list[Assignment]]:
    """What the presets of a source stand for, and above it what else the source says."""
    named = {a.parts: meant(cls, ".".join(a.parts).removesuffix(".kind"), value=a.value) for a in source}
    beneath = [
        each
        for a in source
        for path, value in (named[a.parts] or {}).items()
        for each in assign(cls, path, value=Plain(value) if isinstance(value, str) else value, spelling=a.spelling)
    ]
    return [beneath, [a for a in source if named[a.parts] is None]]


def _alternatives(cls: type[Config]) -> list[type[Config]]:
    """Classes that may hold the fields of a section: every kind of an open union."""
    return [cls, *cls.variants().values()] if issubclass(cls, Choice) and cls.is_open() else [cls]


def _descend(annotation: Any, rest: Parts) -> tuple[Parts, Any, str | None]:
    if not rest:
        return (), annotation, None
    if inner := section(annotation):
        return locate(inner, rest)
    if container := mapping(annotation):
        return rest, item(container) if len(rest) == 1 else Any, None
    return rest, Any, None


def _spread(cls: type[Config], parts: Parts, *, value: Any, annotation: Any, spelling: str) -> Iterator[Assignment]:
    inner = section(annotation)
    if inner and isinstance(value, Plain) and value.startswith("{"):
        value = settle(value, dict[str, Any])
    if inner and isinstance(value, Mapping):
        for key, content in value.items():
            path, kind, fixed = locate(inner, tuple(str(key).split(".")))
            value = Plain(fixed) if fixed else content
            yield from _spread(cls, (*parts, *path), value=value, annotation=kind, spelling=f"{spelling}.{key}")
    elif inner and issubclass(inner, Choice) and isinstance(value, str) and value not in ("null", ""):
        yield Assignment((*parts, "kind"), value, spelling)
    else:
        yield Assignment(parts, value, spelling)


def _take_value(cls: type[Config], name: str, *, rest: list[str]) -> str | list[str] | None:
    """The word or words after `--name`, taken off `rest`; None if there is none."""
    _, annotation, fixed = locate(cls, tuple(name.split(".")))
    if fixed is not None or (is_flag(annotation) and not (rest and rest[0] in literals(annotation))):
        return rest.pop(0) if rest and rest[0].lower() in SWITCH_WORDS else "true"
    if sequence(annotation) is None or int in members(annotation):  # `--resolution 512 photos`: one number may stand alone
        return rest.pop(0) if rest and not OPTION.fullmatch(rest[0]) else None
    words: list[str] = []
    while rest and not OPTION.fullmatch(rest[0]) and not (words and ASSIGNMENT.fullmatch(rest[0])):
        words.append(rest.pop(0))
    return words[0] if len(words) == 1 else words or None


def _plain(value: str | list[str]) -> Any:
    return [Plain(v) for v in value] if isinstance(value, list) else Plain(value)


def _place(cls: type[Config], bare: Sequence[str]) -> tuple[list[Assignment], list[Problem]]:
    """Bare words into `positional`, the last of which takes all that are left if it is a sequence."""
    given: list[Assignment] = []
    words = list(bare)
    for name in cls.positional:
        if words:
            takes_all = name == cls.positional[-1] and sequence(locate(cls, tuple(name.split(".")))[1]) is not None and len(words) > 1
            value = _plain(words if takes_all else words[0])
            words = [] if takes_all else words[1:]
            given += assign(cls, name, value=value)
    return given, [Problem("", f"{word!r} was not expected; settings are written name=value or --name value") for word in words]


def _put(cls: type[Config], tree: dict[str, Any], *, assignment: Assignment) -> None:
    """Write one value; naming another kind than before drops the settings of the kind before."""
    node, annotation = tree, cls
    for part in assignment.parts[:-1]:
        inner = section(annotation) if annotation is not None else None
        field = next((c.model_fields[part] for c in _alternatives(inner) if part in c.model_fields), None) if inner else None
        annotation = field.annotation if field else None  # type: ignore[assignment]
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    leaf = assignment.parts[-1]
    inner = section(annotation) if annotation is not None else None
    names_kind = leaf == "kind" and inner is not None and issubclass(inner, Choice)
    if inner and names_kind and variant_of(inner, node) is not variant_of(inner, {"kind": assignment.value}):
        node.clear()
    node[leaf] = assignment.value
