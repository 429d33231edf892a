"""What a run folder tells about its run. Whatever is missing, cut off or unreadable is left out, never an error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aquatint.evaluation.quantities import finite

HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}")


@dataclass(frozen=True)
class RunRecord:
    """The files of a run folder, read."""

    run_dir: Path
    settings_text: str
    """`config.yaml` as it stands."""
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    """Of the run as it stands: steps that a resume took back and did again are there once."""

    @classmethod
    def read(cls, run_dir: Path) -> RunRecord:
        text = _text(run_dir / "config.yaml")
        events = _standing(_events(_text(run_dir / "log.jsonl")))
        return cls(run_dir=run_dir, settings_text=text, settings=_settings(text), facts=_tree(_text(run_dir / "facts.json")), events=events)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """The events of one kind, in order."""
        return [event for event in self.events if event["event"] == kind]

    def points(self, kind: str, field: str) -> list[tuple[int, float]]:
        """(step, value) of the events of a kind, ordered by step; values that are not finite are left out."""
        found = {_step(event): finite(event.get(field)) for event in self.of(kind)}
        return [(step, value) for step, value in sorted(found.items()) if value is not None]

    def fact(self, *names: str) -> Any:
        """The first of these facts that is known, or None."""
        return next((self.facts[name] for name in names if self.facts.get(name) not in (None, "")), None)

    def number(self, name: str) -> float | None:
        """A fact that is a finite number, or None."""
        return finite(self.facts.get(name))

    def setting(self, *paths: str) -> Any:
        """The value at the first of these dotted paths that is set, or None."""
        for path in paths:
            value: Any = self.settings
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value not in (None, ""):
                return value
        return None

    @cached_property
    def step(self) -> int:
        """Steps completed."""
        return max((_step(event) for event in self.events if event["event"] != "Noted"), default=0)

    @cached_property
    def num_steps(self) -> int | None:
        """Steps planned."""
        planned = finite(self.of("Started")[-1].get("num_steps")) if self.of("Started") else finite(self.setting("steps", "num_steps"))
        return None if planned is None else int(planned)

    @cached_property
    def is_finished(self) -> bool:
        """Whether the result is written; a run that ended between its last step and its file is not."""
        return bool(self.of("Finished")) or self.fact("file", "proof") is not None

    @cached_property
    def seconds(self) -> float | None:
        """Wall time of training; of a resumed run, the time of its steps alone."""
        steps = sum(value for _, value in self.points("Stepped", "seconds"))
        if len(self.of("Started")) > 1:
            return steps or None
        finished = [value for _, value in self.points("Finished", "seconds")]
        return self.number("seconds") or next(iter(finished), steps or None)

    def notes(self, *, is_warning: bool) -> list[str]:
        """What the run noted, each line once."""
        noted = [str(event.get("text", "")) for event in self.of("Noted") if bool(event.get("is_warning")) is is_warning]
        return [text for text in dict.fromkeys(noted) if text]

    @cached_property
    def method(self) -> str:
        """As a reader calls it: `LoRA (rank 16)`."""
        kind = self.fact("method") or self.setting("method.kind", "method") or ""
        kind = kind.get("kind", "") if isinstance(kind, Mapping) else str(kind)
        name = {"lora": "LoRA", "full": "full fine-tuning"}.get(kind, kind.replace("_", " "))
        rank = self.setting("method.rank")
        return f"{name} (rank {rank})" if name and rank else name

    @cached_property
    def told(self) -> str:
        """What the model is told: text, classes or nothing."""
        told = self.fact("told")
        return told if told in ("classes", "nothing") else "text"

    @cached_property
    def sample_prompt(self) -> str | None:
        prompts = self.setting("samples.prompts")
        prompt = self.fact("sample_prompt") or (prompts[0] if isinstance(prompts, list) and prompts else None) or self.fact("trigger")
        return None if prompt is None else str(prompt)


def write_whole(path: Path, text: str) -> Path:
    """Write a text, without Hub tokens, so that a reader finds all of it or what was there before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        aside.write_text(HUB_TOKEN.sub("hf_…", text), encoding="utf-8", errors="replace")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _tree(text: str) -> Mapping[str, Any]:
    try:
        tree = json.loads(text)
    except ValueError:
        return {}
    return tree if isinstance(tree, Mapping) else {}


def _settings(text: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, Mapping) else {}


def _events(text: str) -> Iterable[Mapping[str, Any]]:
    """A killed run leaves its last line cut off."""
    trees = (_tree(line) for line in text.split("\n"))
    return (tree for tree in trees if isinstance(tree.get("event"), str))


def _standing(events: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    standing: list[Mapping[str, Any]] = []
    for event in events:
        if event["event"] == "Started":
            ends, start = ("Stopped", "Finished"), _step(event)
            standing = [e for e in standing if e["event"] in ("Noted", "Started") or (_step(e) <= start and e["event"] not in ends)]
        standing.append(event)
    return tuple(standing)


def _step(event: Mapping[str, Any]) -> int:
    return int(finite(event.get("step")) or 0)
