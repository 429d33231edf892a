"""Optimizers by short name or dotted path. What a name lacks is told before torch is there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any

from aquatint.errors import BadSetting

if TYPE_CHECKING:
    import torch

SHORT = {
    "adamw": "torch.optim.AdamW", "sgd": "torch.optim.SGD", "adafactor": "torch.optim.Adafactor", "lion": "aquatint.training.lion.Lion",
    "adamw8bit": "bitsandbytes.optim.AdamW8bit", "prodigy": "prodigyopt.Prodigy", "schedule_free": "schedulefree.AdamWScheduleFree",
}  # fmt: skip
WEIGHT_DECAY = 0.01
"""Where none is given and the class has one."""
EXTRAS = {"bitsandbytes": "quant", "prodigyopt": "optim", "schedulefree": "optim"}
"""Package that does not come with this one -> its extra."""
RATES = {"lion": 0.2}
"""Share of AdamW's learning rate that suits."""
FINDS_RATE = "prodigy"
"""`lr` is a factor on what it finds by itself."""
AVERAGES = "schedule_free"
"""What is drawn and saved is an average that it keeps, and no schedule is needed for it."""


def problem(name: str) -> str | None:
    """What can be told without importing anything: there is no such name, or its package is not here."""
    package = SHORT.get(name, name).partition(".")[0]
    if "." in SHORT.get(name, name) and package and find_spec(package):
        return None
    if package in EXTRAS:
        return f"{name} needs {package}; pip install 'aquatint[{EXTRAS[package]}]'"
    return f"{name} is no optimizer; short names are {', '.join(SHORT)}; others have a dotted class path"


def find(name: str) -> Any:
    """The class. Raises `BadSetting` when there is none."""
    import torch

    if told := problem(name):
        raise BadSetting(f"optimizer.name: {told}")
    module_name, _, class_name = SHORT.get(name, name).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
        if not issubclass(found, torch.optim.Optimizer):
            raise TypeError("it is no optimizer")
    except (ImportError, AttributeError, TypeError) as error:
        raise BadSetting(f"optimizer.name={name}: there is no such optimizer ({error})") from error
    return found


def build(
    name: str, groups: Sequence[dict[str, Any]], *, lr: float, weight_decay: float | None, options: Mapping[str, Any] | None = None
) -> torch.optim.Optimizer:
    """`lr` and `weight_decay` are those of groups without their own; a group's `lr_factor` multiplies either.

    Raises `BadSetting` for what the class does not take.
    """
    optimizer = find(name)
    given: dict[str, Any] = {"lr": lr, "fused": True} if name == "adamw" else {"lr": lr}
    if weight_decay is not None or "weight_decay" in signature(optimizer).parameters:
        given["weight_decay"] = WEIGHT_DECAY if weight_decay is None else weight_decay
    rated = [_rated(group, lr) for group in groups]
    if name == FINDS_RATE and len({group["lr"] for group in rated}) > 1:
        raise BadSetting(f"optimizer.name={name}: it finds one rate for all, and this method has several; use adamw")
    try:
        built: torch.optim.Optimizer = optimizer(rated, **{**given, **(options or {})})
    except (TypeError, ValueError) as error:
        raise BadSetting(f"optimizer: {name} does not take these settings ({error})") from error
    return built


def _rated(group: Mapping[str, Any], lr: float) -> dict[str, Any]:
    factor = group.get("lr_factor", 1.0)
    return {**{name: value for name, value in group.items() if name != "lr_factor"}, "lr": group.get("lr", lr) * factor}
