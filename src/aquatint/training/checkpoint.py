"""States that are whole or absent: written aside, flushed, renamed; the manifest with sizes and hashes is the seal."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class State:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    trained: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    """Flat: `<parameter>/<slot>`."""
    average: Mapping[str, Tensor]
    """Empty without a moving average."""
    facts: Mapping[str, Any]
    """What the run was made of (settings, base, data), for the comparison at resume."""


def directory(checkpoints_dir: Path, step: int) -> Path:
    return checkpoints_dir / f"step_{step:07d}"


def save(state: State, checkpoints_dir: Path) -> Path:
    """Write one checkpoint; at every instant the folder holds only whole checkpoints and `.writing` leftovers."""
    target = directory(checkpoints_dir, state.step)
    aside = target.with_name(target.name + f".{os.getpid()}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name in ("trained", "optimizer", "average"):
        tensors = {k: v.detach().cpu().contiguous() for k, v in getattr(state, name).items()}
        save_file(tensors, aside / f"{name}.safetensors")
    (aside / "facts.json").write_text(json.dumps({"step": state.step, **state.facts}, indent=1))
    _seal(aside)
    if target.exists():
        shutil.rmtree(target)
    os.replace(aside, target)
    _flush(checkpoints_dir)
    return target


def load(path: Path) -> State:
    """Raises `ValueError` when the checkpoint is not whole."""
    problem = damage(path)
    if problem:
        raise ValueError(f"{path} is not a whole checkpoint: {problem}")
    facts = json.loads((path / "facts.json").read_text())
    parts = {name: load_file(path / f"{name}.safetensors") for name in ("trained", "optimizer", "average")}
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
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read ({error})"
    for name, entry in manifest.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            return f"{name} is missing or cut off"
        if _digest(file) != entry["sha256"]:
            return f"{name} does not match its hash"
    return None


def prune(checkpoints_dir: Path, keep: int) -> None:
    """Delete all but the newest `keep`, and what killed writers left behind."""
    for leftover in checkpoints_dir.glob("*.writing"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in sorted(checkpoints_dir.glob("step_*"))[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Optimizer state as flat tensors; `names` maps id(parameter) to its name."""
    return {
        f"{names[id(parameter)]}/{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], tensors: Mapping[str, Tensor]) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            prefix = names[id(parameter)] + "/"
            for full, value in tensors.items():
                if full.startswith(prefix) and "/" not in full[len(prefix) :]:
                    slot = full[len(prefix) :]
                    device = "cpu" if slot == "step" else parameter.device
                    optimizer.state[parameter][slot] = value.clone().to(device)


def _seal(folder: Path) -> None:
    files = sorted(p for p in folder.iterdir() if p.name != MANIFEST)
    for file in files:
        _flush(file)
    manifest = {p.name: {"bytes": p.stat().st_size, "sha256": _digest(p)} for p in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    _flush(folder / MANIFEST)
    _flush(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
