"""The proof in minutes: teach the embedded model a subject and a style it has never seen, and measure what it learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from aquatint.atomic import free_name
from aquatint.config import Config

if TYPE_CHECKING:
    from rich.table import Table

    from aquatint.core.family import Bundle
    from aquatint.evaluation.demonstration import Style, Subject
    from aquatint.evaluation.learning import Interval
    from aquatint.training.events import Event


class Demo(Config):
    out: Path = Path("demo")
    """Folder for the two runs and the pictures."""
    subject: bool = True
    """Teach it a peacock, under the word `zwx`, from five pictures."""
    style: bool = True
    """Teach it to print in one ink, from twelve pictures."""
    pictures: Path | None = None
    """Another folder of five captioned pictures of another thing that was held out."""
    thing: str = "peacock"
    """What the judge should see in pictures of the subject."""

    main: ClassVar = ("out", "subject", "style")


WORD = "zwx"
RECIPE = (f"trigger={WORD}", "method=pivotal", "method.convolutions=true", "lr=2.5e-3", "prior.weight=4")
"""Shapes are the convolutions' business. `pocket/prove_held_out.py` measures it on other things."""


def run(config: Demo) -> Iterator[Event | str | Table]:
    """Yields the events of both runs and a table for each."""
    if config.subject:
        yield from _prove("subject", config)
    if config.style:
        yield from _prove("style", config)


def _prove(name: str, config: Demo) -> Iterator[Event | str | Table]:
    from aquatint.commands import train
    from aquatint.core.memory import keep_freed_memory
    from aquatint.recognition import recognise
    from aquatint.training.folder import RunFolder
    from aquatint.training.settings import Train

    pictures_dir = _pictures(name, config)
    folder = RunFolder(free_name(config.out / name))
    given = [f"data={pictures_dir}", f"out={folder.path}", *RECIPE]
    settings = Train.read(given)
    proof = _proof(name, config, pictures_dir=pictures_dir)
    keep_freed_memory()
    yield f"== {name}: {len(list(pictures_dir.glob('*.png')))} pictures from {pictures_dir}"
    base: Bundle = recognise(settings.base, settings.family).family.load(settings.base).freeze()
    yield "measuring the base model …"
    before, shown_before = proof.measure(base), proof.show(base)
    yield f"aquatint train {' '.join(given)}"
    begun = perf_counter()
    yield from train.run(settings)
    yield f"training took {perf_counter() - begun:.0f} s, all in"
    settings.method.load(base, folder.path / folder.read_facts()["file"])
    yield "measuring the tuned model, loaded from its file …"
    after, shown_after = proof.measure(base), proof.show(base)
    yield _table(name, before=before, after=after)
    page = folder.path / "before_after.png"
    _sheet(pictures_dir, proof, shown=[shown_before, shown_after]).save(page)
    _keep(folder, before=before, after=after)
    yield f"look at {page} and {folder.path / 'report.html'}"


def _pictures(name: str, config: Demo) -> Path:
    from importlib.resources import files

    if name == "subject" and config.pictures:
        return config.pictures
    return Path(str(files("aquatint") / "models" / "demo" / name))


def _proof(name: str, config: Demo, *, pictures_dir: Path) -> Subject | Style:
    import torch

    from aquatint.evaluation.demonstration import Style, Subject
    from aquatint.evaluation.world import embedded
    from aquatint.training.precision import is_bf16_fast

    precision = torch.bfloat16 if is_bf16_fast(torch.device("cpu")) else torch.float32
    if name == "style":
        return Style(embedded(), WORD, pictures_dir, precision)
    return Subject(embedded(), config.thing, WORD, pictures_dir, precision)


def _table(name: str, *, before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> Table:
    from rich.table import Table

    from aquatint.evaluation.statistics import bootstrap

    table = Table(title=f"{name}: before and after, with 95 % bootstrap intervals")
    for column in ("measure", "before", "after"):
        table.add_column(column)
    for measure in before:
        form = next((form for start, form in FORMS.items() if measure.startswith(start)), _percent)
        table.add_row(measure, form(bootstrap(before[measure])), form(bootstrap(after[measure])))
    return table


def _distance(interval: Interval) -> str:
    low, mean, high = interval
    return f"{mean:.0f}  ({low:.0f} to {high:.0f})"


def _percent(interval: Interval) -> str:
    low, mean, high = interval
    return f"{mean:.0%}  ({low:.0%} to {high:.0%})"


def _similarity(interval: Interval) -> str:
    low, mean, high = interval
    return f"{mean:.3f}  ({low:.3f} to {high:.3f})"


FORMS = {"CLIP": _similarity, "ink distance": _distance}


def _sheet(pictures_dir: Path, proof: Subject | Style, *, shown: Sequence[Sequence[Any]]) -> Any:
    from aquatint.evaluation.learning import read_pictures
    from aquatint.generation.sheet import sheet

    titles = [question.prompt for question in proof.shown()]
    pictures = list(read_pictures(pictures_dir))[: len(titles)]
    return sheet([pictures, *shown], row_titles=["your pictures", "before", "after"], column_titles=titles)


def _keep(folder: Any, *, before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> None:
    """The measures join the run's facts, and its pages are made anew."""
    from aquatint.evaluation.report import write_readme, write_report
    from aquatint.evaluation.statistics import bootstrap

    measures = {name: {"before": bootstrap(before[name]), "after": bootstrap(after[name])} for name in before}
    folder.write_facts({**folder.read_facts(), "measures": measures})
    write_report(folder.path)
    write_readme(folder.path)
