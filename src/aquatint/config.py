"""One definition of every setting; one gate through which YAML, command line, Python and the studio all pass."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema
from typing_extensions import Self

from aquatint.errors import AquatintError
from aquatint.names import nearest


class Config(BaseModel):
    """Frozen, complete, and closed: an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    aliases: ClassVar[Mapping[str, str]] = {}
    """Other tools' names -> dotted paths of ours. A target `path=value` makes the name a switch for that value."""
    presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    """Setting -> names that may stand for a value of it -> the settings that each means, by dotted path. What the user says goes above."""
    main: ClassVar[tuple[str, ...]] = ()
    """Dotted paths of the dozen settings that `--help` shows."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Settings that bare arguments fill, in order."""

    @classmethod
    def read(cls, arguments: Sequence[str] = (), *, file: str | Path | None = None) -> Self:
        """YAML file(s), then assignments (`a.b=1`, `--a.b 1`, `--a.b=1`, `--flag`), then one validation.

        A bare `*.yaml` among the arguments is one more file; other bare arguments fill `positional`.
        Raises SettingsError with every problem.
        """
        from aquatint.assignments import read_tree

        tree, spellings, problems = read_tree(cls, arguments, files=[Path(file)] if file else [])
        return cls.from_tree(tree, spellings=spellings, problems=problems)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], *, spellings: Mapping[str, str] | None = None, problems: Sequence[Problem] = ()) -> Self:
        """Validate nested settings with this class's own names. `spellings` says how the user wrote a path.

        Raises SettingsError with `problems` and all that validation finds.
        """
        from aquatint.presets import spelled_out

        tree = spelled_out(cls, tree)
        try:
            config = cls.model_validate(tree)
        except ValidationError as error:
            from aquatint.explanation import problems_of

            raise SettingsError([*problems, *problems_of(cls, error, tree=tree, spellings=spellings or {})]) from None
        if problems:
            raise SettingsError(problems)
        return config

    def write(self, path: str | Path) -> None:
        """The resolved settings as YAML: reading it back gives an equal config."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        return yaml.dump(self.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class Choice(Config):
    """Base of an open union: subclasses register under their `kind` and are chosen by it.

    `class Method(Choice, default_kind="lora", discover=...)` opens a union; `class LoRA(Method, kind="lora")` joins it
    and gets its `kind` field by that. A field annotated `Method` accepts a Method, `{"kind": "lora", ...}`, or "lora"
    (write its default as `Field(default="lora", validate_default=True)`). `discover` imports the files that declare
    variants; it is called before an unknown kind is refused and before all are listed.
    """

    kind: str = ""
    """Which one."""

    _variants: ClassVar[dict[str, type[Choice]]]
    _discover: ClassVar[Callable[[], object] | None]
    default_kind: ClassVar[str]

    def __init_subclass__(
        cls, kind: str | None = None, default_kind: str | None = None, discover: Callable[[], object] | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if default_kind is not None:
            cls._variants, cls._discover, cls.default_kind = {}, discover and staticmethod(discover), default_kind
        if kind is not None:
            if kind in cls._variants and cls._variants[kind].__qualname__ != cls.__qualname__:
                raise TypeError(f"{kind!r} is taken by {cls._variants[kind].__module__}")
            cls.__annotations__ = {**inspect.get_annotations(cls), "kind": Literal[kind]}
            cls.kind = kind
            cls._variants[kind] = cls

    @classmethod
    def variants(cls) -> dict[str, type[Choice]]:
        """All kinds of this union by name, discovered and sorted."""
        if cls._discover:
            cls._discover()
        return dict(sorted(cls._variants.items()))

    @classmethod
    def named(cls, kind: str) -> type[Choice] | None:
        """The class of one kind, or None."""
        return cls._variants.get(kind) or cls.variants().get(kind)

    @classmethod
    def resolve(cls, value: Any, _handler: object = None) -> Choice:
        """Settings, a tree, or the bare name of a kind -> settings. Raises ValueError for an unknown kind."""
        if isinstance(value, cls):
            return value
        tree = {"kind": value} if isinstance(value, str) else value
        if not isinstance(tree, Mapping):
            raise ValueError(f"must be the name of a kind or settings with one; known: {', '.join(cls.variants())}")
        tree = {"kind": cls.default_kind, **tree}
        variant = cls.named(str(tree["kind"]))
        if variant is None:
            raise ValueError(f"unknown kind {tree['kind']!r}{nearest(str(tree['kind']), cls.variants())}")
        return variant.model_validate(tree)

    @classmethod
    def is_open(cls) -> bool:
        """Whether this is the union itself, not one of its variants."""
        return "default_kind" in cls.__dict__

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        if not cls.is_open():
            return inner
        any_kind = core_schema.simple_ser_schema("any")
        return core_schema.no_info_plain_validator_function(cls.resolve, serialization=any_kind)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if not cls.is_open():
            return handler(schema)
        return {"oneOf": [handler(variant.__pydantic_core_schema__) for variant in cls.variants().values()], "default": cls.default_kind}


class Problem(str):
    """One line for the user; `path` is the dotted path of the setting, or "" ."""

    path: str

    def __new__(cls, path: str, text: str) -> Self:
        problem = super().__new__(cls, f"{path}: {text}" if path else text)
        problem.path = path
        return problem


class SettingsError(AquatintError):
    """Every problem with the settings, each with its dotted path, the value given, and what would be right."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(dict.fromkeys(problems))
        count = f"{len(self.problems)} problems" if len(self.problems) > 1 else "a problem"
        super().__init__("\n  ".join([f"{count} in the settings:", *self.problems]))


class _Dumper(yaml.SafeDumper):
    """Quotes strings that read as numbers to us, although YAML 1.1 takes them for strings (`1e-4`)."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))
