"""Settings in words: what is wrong with them, and what there is to set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from aquatint.annotations import literals, members, section, variant_of
from aquatint.config import Choice, Config, Problem
from aquatint.names import near, nearest


@dataclass(frozen=True)
class Setting:
    """One row of the help."""

    path: str
    default: str
    help: str
    is_main: bool
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """Allowed words, if they are few."""
    kinds: tuple[str, ...] = ()
    """Which kinds of the open union above have this setting; empty if it is always there."""


def explain_fields(cls: type[Config]) -> list[Setting]:
    """Every setting of a class in order, those of all kinds of its open unions included."""
    rows: dict[tuple[str, str, str], Setting] = {}
    for row in _rows(cls, "", kinds=()):
        key = (row.path, row.default, row.help)
        rows[key] = replace(rows[key], kinds=rows[key].kinds + row.kinds) if key in rows else row
    aliases: dict[str, list[str]] = {}
    for alias, target in cls.aliases.items():
        aliases.setdefault(target.partition("=")[0], []).append(alias)
    presets = {path: tuple(names) for path, names in cls.presets.items()}
    return [
        replace(row, is_main=row.path in cls.main, aliases=tuple(aliases.get(row.path, ())), values=row.values + presets.get(row.path, ()))
        for row in rows.values()
    ]


def problems_of(cls: type[Config], error: ValidationError, *, tree: Mapping[str, Any], spellings: Mapping[str, str]) -> list[Problem]:
    """What validation found, a line a setting: path, what is wrong, the value given, the nearest name."""
    found: dict[str, list[str]] = {}
    givens: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False):
        path = ".".join(_trim(cls, fault["loc"], tree=tree))
        if fault["type"] == "extra_forbidden":
            text = f"unknown setting{_suggest(cls, path, tree=tree)}"
        elif fault["type"] == "missing":
            text = f"is required{_example(cls, path)}"
        else:
            text = _message(fault["msg"])
            if path in cls.presets and "unknown kind" in text:
                given = fault["input"]["kind"] if isinstance(fault["input"], Mapping) else fault["input"]
                text = f"unknown kind {given!r}{nearest(str(given), _values(cls, path))}"
        found.setdefault(path, []).append(text)
        is_told = isinstance(fault["input"], Mapping) and not isinstance(fault["input"].get("kind"), type(None))
        if fault["type"] != "missing" and path and not is_told:
            spelling = spellings.get(path, path)
            as_written = f" as {spelling}" if spelling.lstrip("-").replace("-", "_") != path else ""
            givens[path] = f" (given {_shorten(fault['input'])}{as_written})"
    return [Problem(path, f"{', or '.join(dict.fromkeys(texts))}{givens.get(path, '')}") for path, texts in found.items()]


def _values(cls: type[Config], path: str) -> tuple[str, ...]:
    return next((row.values for row in explain_fields(cls) if row.path == path), ())


def _rows(cls: type[Config], prefix: str, *, kinds: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in cls.model_fields.items():
        if name == "kind" and issubclass(cls, Choice):
            continue
        path, inner = f"{prefix}{name}", section(field.annotation)
        text = " ".join((field.description or "").split())
        if inner is None:
            is_listed = not {float, int, str} & set(members(field.annotation))  # else the words are not all
            values = tuple(map(str, literals(field.annotation))) if is_listed else ()
            yield Setting(path, _default(field), text, False, values=values, kinds=kinds)
        elif issubclass(inner, Choice) and inner.is_open():
            variants = inner.variants()
            yield Setting(path, _default(field), text, False, values=tuple(variants), kinds=kinds)
            for kind, variant in variants.items():
                yield from _rows(variant, f"{path}.", kinds=(kind,))
        else:
            if type(None) in members(field.annotation):
                yield Setting(path, _default(field), text, False, kinds=kinds)
            yield from _rows(inner, f"{path}.", kinds=kinds)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if isinstance(value, Choice):
        return value.kind
    if value is None or value == () or value == [] or value == {} or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _trim(cls: type[Config], loc: tuple[int | str, ...], *, tree: Any) -> Iterator[str]:
    """A location without the names that pydantic adds for the members of a union."""
    current: type[Config] | None = cls
    for part in loc:
        if current is not None:
            current = variant_of(current, tree)
            field = current.model_fields.get(str(part))
            yield str(part)
            if field is None:
                return
            current = section(field.annotation)
        elif isinstance(part, int) or (isinstance(tree, Mapping) and part in tree):
            yield str(part)
        else:
            continue
        tree = tree.get(part) if isinstance(tree, Mapping) else None


def _suggest(cls: type[Config], path: str, *, tree: Mapping[str, Any]) -> str:
    """What an unknown name may have meant: a neighbour, a setting of another kind, the same word elsewhere."""
    parent, _, leaf = path.rpartition(".")
    rows = explain_fields(cls)
    prefix = f"{parent}." if parent else ""
    if others := [kind for row in rows if row.path == path for kind in row.kinds]:
        return f" of this kind of {parent}; it belongs to {parent}={' and '.join(others)}"
    kind = _kind_at(cls, parent, tree=tree)
    present = [row.path for row in rows if not row.kinds or kind in row.kinds]
    beside = {path.removeprefix(prefix): path for path in present if path.startswith(prefix)}
    elsewhere = {row.path.rpartition(".")[2]: row.path for row in rows}
    aliases = {alias: alias for row in rows for alias in row.aliases}
    for known in (beside, elsewhere, aliases):
        if match := near(leaf.replace("-", "_"), known):
            return f"; did you mean {known[match]}?"
    return f"; {prefix or 'the settings '}has {', '.join(sorted(beside))}" if parent else "; --help-all lists the settings"


def _kind_at(cls: type[Config], path: str, *, tree: Any) -> str:
    current: type[Config] | None = cls
    for part in path.split(".") if path else ():
        tree = tree.get(part) if isinstance(tree, Mapping) else None
        field = variant_of(current, tree).model_fields.get(part) if current else None
        current = section(field.annotation) if field else None
    variant = variant_of(current, tree) if current else None
    return str(getattr(variant, "kind", "") or (variant.model_fields["kind"].default if variant and "kind" in variant.model_fields else ""))


def _example(cls: type[Config], path: str) -> str:
    row = next((row for row in explain_fields(cls) if row.path == path), None)
    return f": {row.help.rstrip('.')}. Write {path}=…" if row and row.help else f"; write {path}=…"


def _message(text: str) -> str:
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text.replace("Input should be ", "must be ", 1) if text.startswith("Input should be ") else text


def _shorten(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
