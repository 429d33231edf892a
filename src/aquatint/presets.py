"""Presets: one word that stands for several settings, each of which the user may still set otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aquatint.config import Config


def meant(cls: type[Config], setting: str, *, value: Any) -> Mapping[str, Any] | None:
    """The settings that a value of this setting stands for, by dotted path; None where it is no preset."""
    presets = cls.presets.get(setting, {})
    return presets.get(value) if isinstance(value, str) else None


def spelled_out(cls: type[Config], tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same tree without names of presets: what they stand for lies beneath what the tree itself says."""
    for setting in cls.presets:
        said = tree.get(setting)
        beneath = meant(cls, setting, value=said.get("kind") if isinstance(said, Mapping) else said)
        if beneath is None:
            continue
        own = {name: value for name, value in said.items() if name != "kind"} if isinstance(said, Mapping) else {}
        tree = _above(_nested(beneath), {**tree, setting: own})
    return tree


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths to a tree; the name of a kind becomes a section, so that there is room for more."""
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        *above, leaf = path.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[leaf] = value if above else {"kind": value}
    return tree


def _above(beneath: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(beneath)
    for name, value in said.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _above(merged[name], value) if both else value
    return merged
