"""New classes: a model that is told nothing learns to be told one, and a model that is told a class learns more of them.

Each class is a vector that is added to the embedding of time (Dhariwal and Nichol 2021, section 3), a row of one table. In a model that
had no table the rows begin at zero, so that the first step is taken by the base as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PositiveFloat, field_validator

from aquatint.errors import BadSetting
from aquatint.methods.base import DENOISER, Method, Shapes, of_kind, pipeline_lines

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FOLDER = "model"
TABLE, WIDTH = "class_embedding.weight", "time_embedding.linear_2.bias"
"""Names of a denoiser's weights: the table of classes, and one that is as long as its rows."""
SHOWN = 8


class ClassConditional(Method, kind="class_conditional"):
    """New classes, named by the captions or by folders, for a model that is told nothing or a class; writes a whole model."""

    classes: tuple[str, ...] = ()
    """Names of the new classes, in the order of their numbers. Not given: those in the captions, by the alphabet."""
    class_lr: PositiveFloat = 0.1
    """Peak learning rate of the classes' vectors; `lr` does not change it."""
    denoiser: bool = True
    """Train the denoiser too. false: the vectors alone, and whatever the model drew before it still draws."""

    @field_validator("classes")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from aquatint.families._labelled import plain

        if len({plain(name) for name in names}) < len(names) or not all(map(plain, names)):
            raise ValueError("must be names that differ from each other in more than capitals and spaces")
        return names

    @property
    def new_classes(self) -> tuple[str, ...]:
        return self.classes

    @property
    def encodes_anew(self) -> bool:
        """The base cannot be told what it is to learn."""
        return True

    @property
    def has_several_rates(self) -> bool:
        return self.denoiser

    @property
    def default_lr(self) -> float:
        return 1e-5

    def tells(self, told: str) -> str:
        return "text" if told == "text" else "classes"

    def misfit(self, told: str, family: ModelFamily) -> str | None:
        if told == "text":
            return "it is told texts, and any word can be a class; use method=lora, or method=pivotal for a word of its own"
        if not getattr(family, "LABELLED", ()):
            return "new classes can be taught to U-Nets that draw pixels (family ddpm) alone; use method=lora or method=full"
        return None

    def settled(self, prompts: Sequence[Sequence[str]], labels: Sequence[str]) -> ClassConditional:
        from aquatint.families._labelled import plain, unknown

        told = [name for of_each in prompts for name in of_each]
        names = sorted({plain(name): name for name in reversed(told)}.values(), key=str.casefold)
        new = unknown([name for name in names if name.strip()], labels)
        _check(new, num_pictures=len(prompts), has_others=bool(labels) or len(names) > len(new))
        if left := [name for name in new if self.classes and plain(name) not in map(plain, self.classes)]:
            raise BadSetting(f"captions name classes that method.classes does not: {_some(left)}; add them, or leave method.classes out")
        return self.model_copy(update={"classes": self.classes or tuple(new)})

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        shapes = of_kind(parts, DENOISER)
        return _count(shapes) + self._num_added(shapes) if self.denoiser else _table(shapes) + self._num_added(shapes)

    def num_written(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        return sum(map(_count, parts.values())) + self._num_added(of_kind(parts, DENOISER))

    def _num_added(self, shapes: Shapes) -> int:
        """Rows that the table gets, with one for no class if there was none, as numbers."""
        width = sum(math.prod(shape) for name, shape in shapes.items() if name.endswith(WIDTH))
        return width * (len(self.classes) + (not _table(shapes)))

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        from aquatint.families._labelled import unknown

        if not self.classes:
            raise BadSetting("method.classes: no class is named; name them, or let the captions do so")
        if known := [name for name in self.classes if name not in unknown(self.classes, bundle.labels)]:
            raise BadSetting(f"method.classes: the base knows {_some(known)} already; leave them out")

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        from aquatint.methods._class_table import add_classes

        self.check(bundle, family, trigger=trigger)
        bundle.freeze()
        add_classes(bundle, self.classes)
        module = bundle.denoiser if self.denoiser else bundle.denoiser.get_submodule(TABLE.rpartition(".")[0])
        module.requires_grad_(True).train()
        return {f"denoiser.{name}": p for name, p in bundle.denoiser.named_parameters() if p.requires_grad}

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """No decay of the table: rows of classes that are not shown have no gradient either, and stay bit-equal."""
        table = f"denoiser.{TABLE}"
        rest = [parameter for name, parameter in trained.items() if name != table]
        rows = {"params": [trained[table]], "lr": self.class_lr, "weight_decay": 0.0}
        return [{"params": rest}, rows] if rest else [rows]

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export.diffusers_folder import write

        return write(bundle, out_dir / FOLDER, facts=facts)

    def load(self, bundle: Bundle, saved: Path) -> None:
        from aquatint.methods._class_table import add_classes

        trained = bundle.family.load(saved)
        add_classes(bundle, trained.labels[len(bundle.labels) :])
        bundle.denoiser.load_state_dict(trained.denoiser.state_dict())

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        return pipeline_lines(pipeline, saved)


def _check(new: Sequence[str], *, num_pictures: int, has_others: bool) -> None:
    """Raises `BadSetting` where the captions are no classes, or bring none that is new."""
    advice = "name it in a caption, or by the folder that its pictures lie in"
    if not new:
        raise BadSetting(f"no picture is of a class that the base does not know; {advice}, or use method=full for those that it knows")
    if len(new) > (num_pictures + 1) // 2:
        raise BadSetting(
            f"{num_pictures:,} pictures have {len(new):,} different captions ({_some(new)}), so these are no classes; a class has several "
            f"pictures: {advice}"
        )
    if len(new) == 1 and not has_others:
        raise BadSetting(f"all pictures are of one class ({new[0]}), so nothing would be said by naming it; use method=full")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def _table(shapes: Shapes) -> int:
    return sum(math.prod(shape) for name, shape in shapes.items() if name.endswith(TABLE))


def _count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
