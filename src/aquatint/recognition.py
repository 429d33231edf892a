"""Which family a base is of: a checkpoint says so itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from aquatint.errors import BadBase
from aquatint.families import _sources
from aquatint.families._labelled import is_told_class
from aquatint.registry import families

AUTO = "auto"


@dataclass(frozen=True)
class Recognised:
    name: str
    """Of the family."""
    family: ModuleType
    class_name: str
    """Of the stock pipeline."""
    told: str
    """Text, classes or nothing."""


def recognise(base: str, family: str = AUTO) -> Recognised:
    """From names alone: the class in a folder's or Hub id's index, the weights' names in a single file. No model is loaded.

    Raises `BadBase` where there is no model, or one that the named family does not load, or that no family knows; `UnknownName` for
    a family that there is not.
    """
    source = _sources.resolve(base)
    known = families.load_all() if family == AUTO else {family: families[family]}
    _sources.check_place(source)
    path = Path(source)
    if path.is_file():
        return _of_file(path, known)
    class_name = _sources.class_of(path) if path.is_dir() else _on_hub(source, known)
    for name, each in known.items():
        if class_name in each.PIPELINES:
            return Recognised(name, each, class_name, _told(each, class_name, source=source))
    if family != AUTO:
        _sources.check(source, known[family].PIPELINES)
    loaded = ", ".join(sorted(name for each in known.values() for name in each.PIPELINES))
    raise BadBase(f"base={base}: this is a {class_name}, which no family knows; known are {loaded}")


def _on_hub(source: str, known: dict[str, ModuleType]) -> str:
    """A named family is believed: a Hub id need not be looked up before it is loaded."""
    if len(known) == 1 and not _sources.is_in_hub_cache(source):
        return str(next(iter(next(iter(known.values())).PIPELINES)))
    return _sources.class_on_hub(source)


def _of_file(path: Path, known: dict[str, ModuleType]) -> Recognised:
    names = list(_sources.header(path))
    if not names:
        raise BadBase(f"base={path}: no weights can be read from this file; is it damaged, or not a .safetensors file?")
    fitting = {name: each for name, each in known.items() if each.MARKS and all(_occurs(mark, names) for mark in each.MARKS)}
    if not fitting:
        asked = f"the family {next(iter(known))} loads" if len(known) == 1 else "any family knows"
        raise BadBase(f"base={path}: this is not a whole model that {asked} (its first weight is named {names[0]})")
    name = max(fitting, key=lambda each: len(fitting[each].MARKS))
    class_name, told = next(iter(fitting[name].PIPELINES.items()))
    return Recognised(name, fitting[name], class_name, str(told))


def _told(family: ModuleType, class_name: str, *, source: str) -> str:
    """What the pipeline says, or its denoiser, where that wants a class and the pipeline cannot say one."""
    if class_name in getattr(family, "LABELLED", ()) and is_told_class(_sources.config_of(source, "unet")):
        return "classes"
    return str(family.PIPELINES[class_name])


def _occurs(mark: str, names: list[str]) -> bool:
    return any(name.startswith(mark) for name in names)
