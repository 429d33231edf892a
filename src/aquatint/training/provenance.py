"""What a run is made of, kept in its checkpoints, so that a resume can tell whether it would still be the same run."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from aquatint.core.family import Bundle
from aquatint.core.fingerprint import fingerprint
from aquatint.data.records import ImageRecord
from aquatint.training.settings import Train

BESIDE_THE_WEIGHTS = (
    "data", "prior.data", "base", "out", "resume", "cpu", "samples", "validation.every", "checkpoints", "gradient_checkpointing", "export",
    "min_free_gib",
)  # fmt: skip
"""Settings, or sections of them, that change no step, or whose content is compared instead."""
DECISIVE = ("method", "family", "optimizer.name", "ema", "frozen", "quantise")
"""Settings, or sections of them, that the saved state fits or does not."""


def provenance(
    config: Train, records: Sequence[ImageRecord], *, prior_records: Sequence[ImageRecord] = (), bundle: Bundle
) -> dict[str, Any]:
    """Plain values for a checkpoint's facts. `config` is settled, `bundle` as it was loaded, `prior_records` those of `prior.data`."""
    return {
        "data": _pictures(records),
        "prior": _pictures(prior_records),
        "base": _hash(fingerprint(module) for module in bundle.modules),
        "meaning": _hash([bundle.objective.prediction, bundle.reading, *bundle.labels]),
        "settings": {name: value for name, value in _flat(config.model_dump(mode="json")).items() if not _is_of(name, BESIDE_THE_WEIGHTS)},
    }


def breaks(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why a run cannot go on from a checkpoint of `before`: its pictures, its base or decisive settings are others."""
    if not before.keys() >= now.keys():
        return ["its checkpoint does not say what it was made of"]
    found = [*_data_breaks(before["data"], now["data"]), *(f"prior.data: {text}" for text in _data_breaks(before["prior"], now["prior"]))]
    if before["base"] != now["base"]:
        found.append("the weights of the base model are others")
    if before["meaning"] != now["meaning"]:
        found.append("the base model says otherwise what it predicts, how it reads, or what its classes are called")
    return found + [text for name, text in _changes(before, now) if _is_of(name, DECISIVE)]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What else differs; the run can go on with it, and is then not what it would have been."""
    return [text for name, text in _changes(before, now) if not _is_of(name, DECISIVE)]


def _pictures(records: Sequence[ImageRecord]) -> dict[str, Any]:
    records = sorted(records, key=lambda record: record.name)
    return {
        "names": [record.name for record in records],
        "contents": _hash(f"{r.name} {r.content_hash} {r.mask.content_hash if r.mask else ''}" for r in records),
        "captions": _hash(f"{r.name} {r.prompts} {r.weight} {r.repeats}" for r in records),
    }


def _data_breaks(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    gone, new = (sorted(set(a["names"]) - set(b["names"])) for a, b in ((before, now), (now, before)))
    found = [f"pictures are gone: {_listed(gone)}"] if gone else []
    found += [f"pictures are new: {_listed(new)}"] if new else []
    if found:
        return found
    texts = {"contents": "pictures changed under the same name", "captions": "captions changed (or trigger, or template)"}
    return [text for name, text in texts.items() if before[name] != now[name]]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str]]:
    then, today = before["settings"], now["settings"]
    names = [name for name in {**then, **today} if then.get(name) != today.get(name)]
    return [(name, f"{name}={today.get(name)} (was {then.get(name)})") for name in names]


def _is_of(name: str, settings: Sequence[str]) -> bool:
    return any(name == setting or name.startswith(f"{setting}.") for setting in settings)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _hash(parts: Iterable[str]) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
