"""Open sets of named parts. The file name is the key: `families/flux.py` is the family "flux".

Third parties add parts by entry points in the group of the same name (`aquatint.families`, `aquatint.methods`, …).
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import ModuleType

from aquatint.errors import AquatintError
from aquatint.names import nearest


class UnknownName(AquatintError, LookupError):
    """Answered with the nearest known name, so that a typo is not guessed around."""

    def __init__(self, what: str, name: str, known: Iterable[str]):
        super().__init__(f"unknown {what} {name!r}{nearest(name, known)}")


class ShadowedName(AquatintError):
    """Two parts want one name."""

    def __init__(self, what: str, name: str, plugin: EntryPoint, other: str):
        package = plugin.dist.name if plugin.dist else plugin.value
        super().__init__(f"the plug-in {package} brings a {what} {name!r}, which {other} has already; rename one or uninstall the plug-in")


class Registry:
    """Modules of one package, plus installed plug-ins; a module is imported only when it is asked for."""

    def __init__(self, package: str, what: str):
        self.package, self.what = package, what

    def names(self) -> list[str]:
        """All names, sorted. Raises ShadowedName when a plug-in takes a name that is in use."""
        ours = self._own_names()
        return sorted({*ours, *_plugins(self.package, self.what, own_names=frozenset(ours), _path=tuple(sys.path))})

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> ModuleType:
        """The module of that name. Raises UnknownName."""
        if name not in self.names():
            raise UnknownName(self.what, name, self.names())
        plugin = self._plugin(name)
        return plugin.load() if plugin else importlib.import_module(f"{self.package}.{name}")

    def load_all(self) -> dict[str, ModuleType]:
        """Import every module, by name."""
        return {name: self[name] for name in self.names()}

    def describe(self, name: str) -> str:
        """First line of a module's docstring, read without importing it."""
        plugin = self._plugin(name)
        spec = find_spec(plugin.module if plugin else f"{self.package}.{name}")
        if spec is None or spec.loader is None or not hasattr(spec.loader, "get_source"):
            return ""
        text = ast.get_docstring(ast.parse(spec.loader.get_source(spec.name) or "")) or ""
        return text.partition("\n")[0]

    def _own_names(self) -> set[str]:
        path = importlib.import_module(self.package).__path__
        return {m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_") and m.name != "base"}

    def _plugin(self, name: str) -> EntryPoint | None:
        return _plugins(self.package, self.what, own_names=frozenset(self._own_names()), _path=tuple(sys.path)).get(name)


@cache
def _plugins(package: str, what: str, *, own_names: frozenset[str], _path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Looked for once for each state of `sys.path`: reading all installed packages takes tens of milliseconds."""
    found: dict[str, EntryPoint] = {}
    for plugin in entry_points(group=package):
        if plugin.name in own_names:
            raise ShadowedName(what, plugin.name, plugin, "aquatint itself")
        if plugin.name in found and plugin.value != found[plugin.name].value:
            raise ShadowedName(what, plugin.name, plugin, found[plugin.name].value)
        found[plugin.name] = plugin
    return found


families = Registry("aquatint.families", "model family")
methods = Registry("aquatint.methods", "method")
guidances = Registry("aquatint.guidance", "guidance")
commands = Registry("aquatint.commands", "command")
