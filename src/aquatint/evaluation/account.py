"""A run in words and numbers: what the report and the README both say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aquatint.evaluation import quantities
from aquatint.evaluation.quantities import finite
from aquatint.evaluation.record import RunRecord


def summary(record: RunRecord) -> str:
    """One sentence: what was trained on what."""
    base, pictures, trigger = record.fact("base") or record.setting("base"), record.number("num_pictures"), record.fact("trigger")
    text = f"{base or 'A model'}, trained"
    text += f" on {quantities.count(pictures)} picture{'s' if pictures != 1 else ''}" if pictures is not None else ""
    text += f" by {record.method}" if record.method else ""
    return text + (f"; the trigger is “{trigger}”." if trigger else ".")


def status(record: RunRecord) -> str:
    """Whether the run is finished, in a sentence."""
    planned = f" of {quantities.count(record.num_steps)}" if record.num_steps else ""
    if record.is_finished:
        return f"Finished after {quantities.count(record.step)} steps." if record.step else "Finished."
    how = "Stopped" if record.of("Stopped") else "Not finished: it ended"
    return f"{how} after {quantities.count(record.step)}{planned} steps."


def measured(record: RunRecord) -> Mapping[str, tuple[list[float], list[float]]]:
    """Name -> (before, after), each [low, mean, high], [value], or []."""
    tree = record.fact("measures")
    sides = {str(name): value for name, value in tree.items() if isinstance(value, Mapping)} if isinstance(tree, Mapping) else {}
    return {name: (_interval(value.get("before")), _interval(value.get("after"))) for name, value in sides.items()}


def essentials(record: RunRecord) -> list[tuple[str, str, str]]:
    """(name, value, remark) of the numbers that matter; what is not known is left out."""
    rates, times = [y for _, y in record.points("Stepped", "learning_rate")], sorted(y for _, y in record.points("Stepped", "seconds"))
    trained = record.number("num_trainable")
    planned = f"of {quantities.count(record.num_steps)}" if record.num_steps and record.num_steps != record.step else ""
    if trained is None:
        trained = next((finite(event.get("num_trainable")) for event in record.of("Started")), None)
    rows: list[tuple[str, float | str | None, Any, str]] = [
        ("pictures", record.number("num_pictures"), quantities.count, ""),
        ("steps", record.step if record.events else None, quantities.count, planned),
        ("batch size", finite(record.setting("batch_size")), quantities.count, ""),
        ("learning rate", max(rates) if rates else finite(record.setting("lr")), quantities.short, "at its peak" if rates else ""),
        ("time", record.seconds, quantities.duration, ""),
        ("time a step", times[len(times) // 2] if times else None, quantities.duration, "median"),
        ("parameters trained", trained, quantities.count, ""),
        ("file size", record.number("file_bytes"), quantities.num_bytes, ""),
        ("skipped steps", len({event.get("step") for event in record.of("Skipped")}) if record.events else None, quantities.count, ""),
        ("warnings", len(record.notes(is_warning=True)) if record.events else None, quantities.count, ""),
    ]
    return [(name, form(value), remark) for name, value, form, remark in rows if value is not None]


def proof_text(record: RunRecord) -> str:
    """What the check of the written file found; "" for an unfinished run."""
    proof = record.fact("proof")
    proof = proof if isinstance(proof, Mapping) else {}
    difference, changed, keys = (finite(proof.get(name)) for name in ("largest_difference", "changed_by", "num_keys"))
    if difference is None:
        return "The written file was not compared with the trained model." if record.is_finished else ""
    held = f" with all of its {quantities.count(keys)} keys" if keys is not None else ""
    text = f"The file was loaded by stock diffusers{held}, and its output differs from the trained model’s by at most "
    text += quantities.figures(difference)
    text += f"; it changes the base’s by {quantities.figures(changed)}" if changed is not None else ""
    return text + " (as shares of the output’s root mean square)."


def validation_text(points: Sequence[tuple[int, float]]) -> str:
    if not points:
        return ""
    if len(points) == 1:
        return f"Validation loss: {quantities.figures(points[0][1])} at step {quantities.count(points[0][0])}."
    best = min(points, key=lambda point: point[1])
    first, last, lowest = quantities.aligned([points[0][1], points[-1][1], best[1]])
    at = quantities.count(best[0])
    return f"Validation loss (the same noise every time): {first} at first, {last} at last, lowest {lowest} at step {at}."


def file_table(run_dir: Path) -> list[tuple[str, str]]:
    """(name, what it is) of the files of a run folder that exist."""
    known = {
        "pytorch_lora_weights.safetensors": "the result: what was trained, in the form that diffusers loads",
        "adapter": "the result: what was trained, in the form that PEFT loads",
        "pytorch_lora_weights_kohya.safetensors": "the same for ComfyUI, A1111 and Forge",
        "learned_embeds.safetensors": "the trigger as a word of its own; without it the trigger means nothing",
        "model": "the result: a whole model, in the form that diffusers loads",
        "before_after.png": "what the same seeds draw before and after",
        "report.html": "the run in pictures and numbers; opens in a browser, loads nothing",
        "samples": "pictures drawn during training; each PNG holds what was asked for, its seed too",
        "config.yaml": "the resolved settings; `aquatint train config.yaml out=again` repeats the run",
        "log.jsonl": "everything the run said, one JSON object a line",
        "facts.json": "numbers about the run, for programs",
        "checkpoints": "states to resume from; not needed to use the result",
    }
    return [(name, text) for name, text in known.items() if (run_dir / name).exists()]


def interval_texts(interval: Sequence[float], other: Sequence[float]) -> tuple[str, str]:
    """(mean, "low to high" or ""), with the decimals that suit both sides of a measure."""
    if not interval:
        return "–", ""
    texts = quantities.aligned([*interval, *other])[: len(interval)]
    return (texts[1], f"{texts[0]} to {texts[2]}") if len(interval) == 3 else (texts[0], "")


def _interval(value: object) -> list[float]:
    numbers = [finite(v) for v in value] if isinstance(value, (list, tuple)) else [finite(value)]
    known = [v for v in numbers if v is not None]
    return known if len(known) == len(numbers) and len(known) in (1, 3) else []
