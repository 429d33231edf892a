"""The parts of a report. Each is empty when the run has nothing to say to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aquatint.evaluation import account, curve, quantities, snippet
from aquatint.evaluation.quantities import finite
from aquatint.evaluation.record import RunRecord
from aquatint.evaluation.thumbnails import Thumbnail, sample_rows, thumbnail
from aquatint.markup import Markup, element, joined

TINY_PX = 160
"""Pictures below it are enlarged with hard pixels, as they are."""


def header(record: RunRecord) -> Markup:
    lines = [element("h1", record.run_dir.resolve().name), element("p", account.summary(record), class_="lead")]
    if record.is_finished:
        return element("header", *lines, element("p", account.status(record), class_="soft"))
    go_on = element("code", snippet.command("resume", record))
    return element("header", *lines, element("p", joined(account.status(record), " Go on with ", go_on), class_="warning"))


def before_after(record: RunRecord) -> Markup:
    found = thumbnail(record.run_dir / "before_after.png", max_width_px=1800)
    if found is None:
        return Markup()
    return element("section", element("h2", "Before and after"), element("figure", _image(found, "Prompts before and after training")))


def measures(record: RunRecord) -> Markup:
    rows = [_measure_row(str(name), value) for name, value in account.measured(record).items()]
    if not any(rows):
        return Markup()
    key = element("th", _key(before="before", after="after"), class_="shape")
    head = element("tr", element("th", "measure"), element("th", "before"), element("th", "after"), key)
    table = element("table", element("thead", head), element("tbody", *rows))
    note = "Means; below them, where given, the interval that would hold 95 % of the means of resampled pictures (bootstrap)."
    return element("section", element("h2", "Measures"), table, element("p", note, class_="soft"))


def loss(record: RunRecord) -> Markup:
    losses, validations = record.points("Stepped", "loss"), record.points("Validated", "loss")
    if not losses and not validations:
        return element("section", element("h2", "Loss"), element("p", "The log holds no step yet.", class_="soft"))
    num_steps, rates, charts = record.num_steps or 0, record.points("Stepped", "learning_rate"), Markup()
    for width in (curve.WIDE, curve.NARROW):  # the style shows the one that suits the screen
        charts = joined(charts, curve.loss_chart(losses, validations, num_steps=num_steps, width=width))
        charts = joined(charts, curve.rate_chart(rates, num_steps=num_steps, width=width))
    top = curve.loss_ticks(losses, validations)[-1]
    above = sum(y > top for _, y in losses)
    effective = quantities.count(2 * math.sqrt(math.pi) * curve.window(losses))  # as many independent steps have the same variance
    words = [f"The line is a mean over about {effective} steps." if len(losses) > 1 else ""]
    words += [f"{above} step{'s lie' if above > 1 else ' lies'} above the chart." if above else "", account.validation_text(validations)]
    key = _key(dot="one step", training="smoothed", **({"validation": "validation"} if validations else {}))
    figure = element("figure", element("div", key, class_="keys"), charts, element("figcaption", " ".join(filter(None, words))))
    return element("section", element("h2", "Loss"), figure)


def samples(record: RunRecord) -> Markup:
    rows = sample_rows(record.run_dir / "samples")
    steps = sorted({step for row in rows for step in row.by_step})
    if not rows:
        return Markup()
    parts = []
    for row in rows:
        seed = element("span", f"seed {row.seed}", class_="soft seed") if row.seed else None
        label = joined(f"“{row.prompt}” " if row.prompt else None, seed)
        cells = [_cell(row.by_step.get(step), step=step, prompt=row.prompt) for step in steps]
        parts.append(element("div", element("p", label), element("div", *cells, class_="strip"), class_="row"))
    return element("section", element("h2", "Samples over time"), *parts)


def numbers(record: RunRecord) -> Markup:
    rows = [element("div", element("dt", n), element("dd", joined(v, " "), element("small", r))) for n, v, r in account.essentials(record)]
    return element("section", element("h2", "Numbers"), element("dl", *rows)) if rows else Markup()


def notes(record: RunRecord) -> Markup:
    warnings, others = record.notes(is_warning=True), record.notes(is_warning=False)
    skipped = ", ".join(dict.fromkeys(quantities.count(finite(event.get("step")) or 0) for event in record.of("Skipped")))
    if skipped:
        warnings.append(f"The loss or gradient was not finite and the weights were left as they were at step {skipped}.")
    if not warnings and not others:
        return Markup()
    told = [element("p", text, class_="warning") for text in warnings]
    lines = element("ul", *(element("li", text) for text in others)) if others else None
    return element("section", element("h2", "Notes"), *told, lines)


def proof(record: RunRecord) -> Markup:
    text = account.proof_text(record)
    class_ = "" if record.fact("proof") else "warning"
    return element("section", element("h2", "Proof"), element("p", text, class_=class_)) if text else Markup()


def use(record: RunRecord) -> Markup:
    code = snippet.diffusers_code(record)
    if not code:
        return Markup()
    line = snippet.generate_command(record)
    shell = joined(element("p", "With aquatint, in the folder that holds this run:"), element("pre", element("code", line)))
    return element("section", element("h2", "Use it"), element("p", "With diffusers alone:"), element("pre", element("code", code)), shell)


def settings(record: RunRecord) -> Markup:
    if not record.settings_text.strip():
        return Markup()
    head = element("summary", element("h2", "Settings"))
    return element("section", element("details", head, element("pre", element("code", record.settings_text.rstrip()))))


def _measure_row(name: str, sides: tuple[list[float], list[float]]) -> Markup:
    if not any(sides):
        return Markup()
    chart = curve.interval_chart(*sides) if all(sides) else None
    before, after = sides
    cells = [_measure_cell(before, after), _measure_cell(after, before), element("td", chart, class_="shape")]
    return element("tr", element("th", name.replace("_", " "), scope="row"), *cells)


def _measure_cell(interval: Sequence[float], other: Sequence[float]) -> Markup:
    mean, ends = account.interval_texts(interval, other)
    return element("td", mean, element("small", ends) if ends else None)


def _key(**labels: str) -> Markup:
    """Colour swatches, each with its label."""
    return joined(*(joined(element("span", class_=f"key {style}"), element("span", label)) for style, label in labels.items()))


def _cell(found: Thumbnail | None, *, step: int, prompt: str) -> Markup:
    picture = _image(found, f"{prompt or 'sample'} at step {step}") if found else element("div", class_="none")
    return element("figure", picture, element("div", f"step {quantities.count(step)}", class_="step"))


def _image(found: Thumbnail, alt: str) -> Markup:
    class_ = "tiny" if found.width_px < TINY_PX else ""
    return element("img", src=found.uri, alt=alt, width=found.width_px, height=found.height_px, class_=class_)
