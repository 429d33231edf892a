"""States that are whole or absent: written aside, flushed, renamed; the manifest with sizes and hashes is the seal."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aquatint.atomic import flush
from aquatint.errors import AquatintError

MANIFEST, FACTS = "manifest.json", "facts.json"
PARTS = ("trained", "optimizer", "average")
NUMBER, RATE = ":number", ("lr", "peak_lr")
FILES = (FACTS, *(f"{part}.safetensors" for part in PARTS))


class NotFinite(AquatintError):
    """The trained tensors overflowed: a state that must not be kept."""

    exit_code = 3

    def __init__(self, state: "State", names: list[str]):
        super().__init__(
            f"after step {state.step} {len(names)} trained tensors are not finite, first {names[0]}. Nothing was written and the last good "
            "checkpoint is kept. Most often the learning rate is too high: try a third of it."
        )


@dataclass(frozen=True)
class State:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    trained: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    """Flat: `<parameter>/<slot>`, and `group <index>/<slot>`; a slot that holds a plain number ends with `NUMBER`."""
    average: Mapping[str, Tensor]
    """Empty without a moving average."""
    facts: Mapping[str, Any]
    """What the run was made of (settings, base, data), for the comparison at resume."""


def directory(checkpoints_dir: Path, step: int) -> Path:
    return checkpoints_dir / f"step_{step:07d}"


def save(state: State, checkpoints_dir: Path) -> Path:
    """Write one checkpoint; at every instant the folder holds only whole checkpoints and `.writing` leftovers.

    Raises `NotFinite` before anything is written.
    """
    bad = [name for part in (state.trained, state.average) for name, tensor in part.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NotFinite(state, bad)
    target = directory(checkpoints_dir, state.step)
    aside, replaced = (target.with_name(f"{target.name}.{suffix}.writing") for suffix in (os.getpid(), "replaced"))
    for leftover in (aside, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _write(state, aside)
    except BaseException:  # a half-written state would keep a full disk full
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if target.exists():  # a folder cannot be replaced in one step; this one is damaged, or equal to what comes
        os.replace(target, replaced)
    os.replace(aside, target)
    flush(checkpoints_dir)
    return target


def load(path: Path) -> State:
    """Raises `ValueError` when the checkpoint is not whole."""
    problem = damage(path)
    if problem:
        raise ValueError(f"{path} is not a whole checkpoint: {problem}")
    facts = json.loads((path / FACTS).read_text())
    parts = {name: load_file(path / f"{name}.safetensors") for name in PARTS}
    return State(step=facts.pop("step"), facts=facts, **parts)


def newest(checkpoints_dir: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are passed over."""
    for path in sorted(checkpoints_dir.glob("step_*"), reverse=True):
        if not path.name.endswith(".writing") and damage(path) is None:
            return path
    return None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        sealed = {name: (int(manifest[name]["bytes"]), str(manifest[name]["sha256"])) for name in FILES}
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"its manifest cannot be read ({error!r})"
    for name, (num_bytes, digest) in sealed.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != num_bytes:
            return f"{name} is missing or cut off"
        if _digest(file) != digest:
            return f"{name} does not match its hash"
    return None


def prune(checkpoints_dir: Path, keep: int) -> None:
    """Delete all but the newest `keep`, and what killed writers left behind."""
    for leftover in checkpoints_dir.glob("*.writing"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in sorted(checkpoints_dir.glob("step_*"))[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str], *, begun: Sequence[Mapping[str, Any]]
) -> dict[str, Tensor]:
    """Optimizer state as flat tensors; `names` maps id(parameter) to its name.

    Of a group's numbers those are state that are no longer as they were in `begun`; the others are settings.
    """
    places: dict[str, Mapping[str, Any]] = {names[id(parameter)]: slots for parameter, slots in optimizer.state.items()}
    now = numbers(optimizer)
    places |= {f"group {i}": {k: v for k, v in group.items() if begun[i].get(k) != v} for i, group in enumerate(now)}
    return {
        f"{place}/{slot}" if isinstance(value, Tensor) else f"{place}/{slot}{NUMBER}": _as_tensor(value)
        for place, slots in places.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor | bool | int | float)
    }


def numbers(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Of each group, but for the learning rate, which the schedule sets."""
    return [{k: v for k, v in g.items() if isinstance(v, bool | int | float) and k not in RATE} for g in optimizer.param_groups]


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], *, tensors: Mapping[str, Tensor]) -> None:
    for index, group in enumerate(optimizer.param_groups):
        group |= {slot.removesuffix(NUMBER): value.item() for slot, value in _slots(tensors, f"group {index}").items()}
        for parameter in group["params"]:
            for slot, value in _slots(tensors, names[id(parameter)]).items():
                is_on_host = slot == "step" and not (group.get("fused") or group.get("capturable"))
                kept = value.item() if slot.endswith(NUMBER) else value.clone().to("cpu" if is_on_host else parameter.device)
                optimizer.state[parameter][slot.removesuffix(NUMBER)] = kept


def _slots(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    found = {name.removeprefix(f"{place}/"): value for name, value in tensors.items() if name.startswith(f"{place}/")}
    return {slot: value for slot, value in found.items() if "/" not in slot}


def _as_tensor(value: Tensor | bool | int | float) -> Tensor:
    """Of a kind that gives a plain number back as it was."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)


def _write(state: State, aside: Path) -> None:
    aside.mkdir(parents=True)
    for name in PARTS:
        tensors = {k: v.detach().cpu().contiguous() for k, v in getattr(state, name).items()}
        save_file(tensors, aside / f"{name}.safetensors")
    (aside / FACTS).write_text(json.dumps({"step": state.step, **state.facts}, indent=1))
    _seal(aside)


def _seal(folder: Path) -> None:
    files = sorted(p for p in folder.iterdir() if p.name != MANIFEST)
    for file in files:
        flush(file)
    manifest = {p.name: {"bytes": p.stat().st_size, "sha256": _digest(p)} for p in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    flush(folder / MANIFEST)
    flush(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
