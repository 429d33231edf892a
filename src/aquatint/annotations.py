"""Reading the type of a setting: which section it opens, and which plain values it takes."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from aquatint.config import Choice, Config

SEQUENCES = (list, tuple, set, frozenset, Sequence)


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type, without `Annotated` and nested unions: `Path | None` -> (Path, NoneType)."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(m for part in get_args(annotation) for m in members(part))
    if hasattr(annotation, "__value__"):  # type X = ...
        return members(annotation.__value__)
    return (annotation,)


def section(annotation: Any) -> type[Config] | None:
    """The settings class that a field holds, if it holds one."""
    return next((m for m in members(annotation) if isinstance(m, type) and issubclass(m, Config)), None)


def sequence(annotation: Any) -> Any | None:
    """The alternative that holds several values in order, if there is one."""
    return next((m for m in members(annotation) if (get_origin(m) or m) in SEQUENCES), None)


def mapping(annotation: Any) -> Any | None:
    """The alternative with keys of the user's own, if there is one."""
    return next((m for m in members(annotation) if (get_origin(m) or m) in (dict, Mapping)), None)


def item(container: Any, index: int = 0) -> Any:
    """The type of one value of `list[int]`, `tuple[int, str]`, `dict[str, int]`."""
    arguments = [a for a in get_args(container) if a is not Ellipsis]
    if not arguments:
        return Any
    is_keyed = (get_origin(container) or container) in (dict, Mapping)
    return arguments[-1] if is_keyed else arguments[min(index, len(arguments) - 1)]


def literals(annotation: Any) -> tuple[Any, ...]:
    """The values allowed by `Literal` and by enumerations."""
    found: list[Any] = []
    for member in members(annotation):
        if get_origin(member) is Literal:
            found += get_args(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [m.value for m in member]
    return tuple(found)


def is_text(member: Any) -> bool:
    """Whether the value is kept as written: strings and paths."""
    return isinstance(member, type) and issubclass(member, (str, PurePath, PathLike)) and not issubclass(member, Enum)


def is_flag(annotation: Any) -> bool:
    """Whether the bare name of the setting means true."""
    return bool in members(annotation)


def variant_of(cls: type[Config], tree: Any) -> type[Config]:
    """For an open union the variant that `tree` names (its default if none, the union itself if unknown)."""
    if not (issubclass(cls, Choice) and cls.is_open()):
        return cls
    kind = tree.get("kind", cls.default_kind) if isinstance(tree, Mapping) else tree if isinstance(tree, str) else cls.default_kind
    return cls.named(str(kind)) or cls
