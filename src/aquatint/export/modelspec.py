"""What a LoRA file says of itself: `ss_*` as kohya's scripts write it, and Stability's model specification 1.0.1.

A1111 and Forge show an adapter only beside the models that `ss_base_model_version` names.
"""

import hashlib
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from aquatint.export.adapter import Adapter
from aquatint.export.architectures import ARCHITECTURES

VERSION, V_PREDICTION = "1.0.1", "stable-diffusion-v2-768-v"
NETWORK_MODULE = "networks.lora"
"""Whose names and meaning of alpha a kohya file has; the programs that read it look for this very text."""


def describe(adapter: Adapter, named: Mapping[str, Tensor], *, facts: Mapping[str, str]) -> dict[str, str]:
    """All metadata of a file that holds the tensors `named`; what they show wins over `facts`, and those over the adapter's own."""
    kept = {name: value for name, value in {**adapter.metadata, **facts}.items() if name not in ("lora_adapter_metadata", "format")}
    ranks = {float(tensor.shape[0]) for name, tensor in named.items() if name.endswith((".lora_down.weight", ".lora_A.weight"))}
    alphas = {float(tensor) for name, tensor in named.items() if name.endswith(".alpha")}
    is_kohya = bool(alphas)
    return {
        "format": "pt", "modelspec.date": time.strftime("%Y-%m-%d"), **kept, **of_architecture(adapter.architecture, kept),
        "ss_network_module": NETWORK_MODULE if is_kohya else kept.get("ss_network_module", NETWORK_MODULE),
        "ss_network_dim": _one(ranks), "ss_network_alpha": _one(alphas or ranks), "modelspec.hash_sha256": digest(named),
    }  # fmt: skip


def of_architecture(architecture: str | None, facts: Mapping[str, str], *, is_v_prediction: bool = False) -> dict[str, str]:
    """The names by which programs know it."""
    if architecture is None:
        return {}
    known = ARCHITECTURES[architecture]
    spec, is_v2 = facts.get("modelspec.architecture", ""), {"ss_v2": "True"} if architecture == "sd2" else {}
    ours = V_PREDICTION if is_v_prediction and architecture == "sd2" else known.spec
    return {
        "ss_base_model_version": known.base_version,
        "modelspec.sai_model_spec": VERSION,
        "modelspec.architecture": spec if spec.startswith(known.spec.removesuffix("-512")) else f"{ours}/lora",
        "modelspec.implementation": facts.get("modelspec.implementation", "diffusers"),
        "modelspec.title": facts.get("modelspec.title", "LoRA"),
        "modelspec.resolution": facts.get("modelspec.resolution", f"{known.resolution_px}x{known.resolution_px}"),
        **is_v2,
    }


def digest(named: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that follows the header in the file of these tensors: safetensors puts wider numbers first, then sorts by name."""
    state = hashlib.sha256()
    for name in sorted(named, key=lambda name: (-named[name].itemsize, name)):
        state.update(named[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"0x{state.hexdigest()}"


def _one(values: set[float]) -> str:
    """A value that all layers share; kohya's word for it where they do not."""
    return f"{next(iter(values)):g}" if len(values) == 1 else "Dynamic"
