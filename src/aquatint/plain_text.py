"""Text whose meaning depends on the setting it is for, and the YAML reader that keeps it so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import NoneType
from typing import Any

import yaml

from aquatint.annotations import is_text, item, literals, mapping, members, section, sequence, variant_of
from aquatint.config import Problem

NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d+)([eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, ".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


class Plain(str):
    """Unquoted text: a number, a switch or a string, as the setting will have it."""


def settle(value: Any, annotation: Any) -> Any:
    """Give every `Plain` in a tree the type that its setting asks for; what cannot be read stays text for validation to refuse."""
    if isinstance(value, Mapping):
        if cls := section(annotation):
            fields = variant_of(cls, value).model_fields
            return {str(k): settle(v, fields[k].annotation if k in fields else Any) for k, v in value.items()}
        container = mapping(annotation)
        return {str(k): settle(v, item(container)) for k, v in value.items()}
    if isinstance(value, list):
        container = sequence(annotation)
        return [settle(v, item(container, i)) for i, v in enumerate(value)]
    return _settle_text(value, annotation) if isinstance(value, Plain) else value


def number_or_word(text: Any) -> Any:
    """Decimal numbers and true/false of plain text (`012` is twelve, `1e-4` is a float); anything else as it is."""
    if not isinstance(text, str) or not NUMBER.fullmatch(text):
        return WORDS.get(text.lower(), str(text)) if isinstance(text, str) else text
    return int(text) if re.fullmatch(r"[-+]?[\d_]+", text) else float(text)


def load_yaml(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The mapping in a file, its unquoted text as `Plain`, and what is wrong with it."""
    content, problems = read_yaml(path)
    if content is None or isinstance(content, dict):
        return content or {}, problems
    sources = f"; a list of sources is given as data={path}" if isinstance(content, list) else ""
    return {}, [Problem("", f"{path} holds a {type(content).__name__}; expected lines of `name: value`{sources}")]


def read_yaml(path: Path) -> tuple[Any, list[Problem]]:
    """Whatever a file holds, its unquoted text as `Plain`, and what is wrong with it; None if it holds nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        return None, [Problem("", f"cannot read {path}: {reason}")]
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        return None, [Problem("", f"{path}{where} is not YAML: {getattr(error, 'problem', error)}")]
    except RecursionError:
        return None, [Problem("", f"{path} is nested too deeply")]
    return content, [Problem("", f"{path}: {text}") for text in loader.duplicates]


class _Loader(yaml.SafeLoader):
    """Nothing but null and merges is guessed from plain text, and no key may be given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [r for r in resolvers if r[0].endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str):
        super().__init__(text)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in lines and not key.tag.endswith(":merge"):
                self.duplicates.append(f"{key.value!r} is given twice, on lines {lines[key.value]} and {line}")
            if isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
        return {str(k): v for k, v in super().construct_mapping(node, deep=True).items()}


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    return Plain(text) if node.style is None else text


_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)


def _settle_text(text: Plain, annotation: Any) -> Any:
    kinds = members(annotation)
    if str(text) in literals(annotation):
        return str(text)
    if NoneType in kinds and (text == "null" or (text == "" and str not in kinds)):
        return None
    container = (mapping(annotation) if text.startswith("{") else None) or sequence(annotation)
    if container is not None:
        return _settle_container(text, container, kinds=kinds)
    value = number_or_word(text)
    if any(map(is_text, kinds)):
        if any(type(value) is k or (type(value) is int and k is float) for k in kinds if k is not str):
            return value
        only_path = str not in kinds and any(isinstance(k, type) and issubclass(k, PurePath) for k in kinds)
        return _path(text) if only_path else str(text)
    if literals(annotation) and value not in literals(annotation):
        return str(text)
    return value


def _settle_container(text: Plain, container: Any, *, kinds: tuple[Any, ...]) -> Any:
    if text.startswith(("[", "{")):
        try:
            content = _Loader(text).get_single_data()
        except yaml.YAMLError:
            return str(text)
        if isinstance(content, dict) and sequence(container) and section(item(container)):
            content = [content]  # the only one of a list
        if isinstance(content, list if sequence(container) else dict):
            return settle(content, container)
    if str in kinds:
        return str(text)
    if int in kinds and "," not in text:
        return number_or_word(text)
    is_list_of_text = any(is_text(member) or section(member) for member in members(item(container)))
    words = [text] if is_list_of_text else [Plain(word.strip()) for word in text.split(",")]
    return settle(words, container)


def _path(text: str) -> str | None:
    """An empty path (a shell variable that was not set) is no path, not the current folder."""
    return (str(Path(text).expanduser()) if text.startswith("~") else str(text)) or None
