"""Optimizers by short name or dotted path."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from aquatint.errors import BadSetting

SHORT = {"adamw": "torch.optim.AdamW", "sgd": "torch.optim.SGD", "adafactor": "torch.optim.Adafactor"}


def build(name: str, groups: Sequence[dict[str, Any]], *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """`lr` and `weight_decay` are those of groups without their own; a group's `lr_factor` multiplies either.

    Raises `BadSetting` when there is no such class.
    """
    module_name, _, class_name = SHORT.get(name, name).rpartition(".")
    try:
        optimizer = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadSetting(f"optimizer.name={name}: no such optimizer; short names: {', '.join(SHORT)}, or a dotted class path") from error
    options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    if name == "adamw":
        options["fused"] = True
    built: torch.optim.Optimizer = optimizer([_rated(group, lr) for group in groups], **options)
    return built


def _rated(group: Mapping[str, Any], lr: float) -> dict[str, Any]:
    factor = group.get("lr_factor", 1.0)
    return {**{name: value for name, value in group.items() if name != "lr_factor"}, "lr": group.get("lr", lr) * factor}
