"""`pytorch_lora_weights.safetensors`: the adapter file that every diffusers pipeline loads.

The scale alpha / rank is folded into B and alpha is written equal to the rank, so a program that ignores alpha is
right too; the alpha of training stays in the metadata as `aquatint.alpha`. An update that began as the principal components
of the weights is written as the change against the weights as they were: B A - B_0 A_0, of twice the rank.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aquatint.core.family import Bundle
from aquatint.errors import BadFile
from aquatint.export.adapter import Adapter
from aquatint.export.modelspec import describe
from aquatint.export.tensors import write_tensors

ADAPTER = "default"
"""PEFT's name for the only adapter there is."""
MAGNITUDE = "lora_magnitude_vector"
"""Transformers reads it with `.weight` behind, diffusers and PEFT without."""
NO_DROPOUT = {"lora_dropout": 0.0}
"""Loaders put new layers into a network without telling them that it is not in training."""


def write(bundle: Bundle, path: Path, *, facts: dict[str, str]) -> Path:
    """Adapters of the denoiser and, where there are any, of the text encoders."""
    from peft import get_peft_model_state_dict

    tensors: dict[str, Tensor] = {}
    adapter_config: dict[str, object] = {}
    rank = 0
    for place, module in adapted(bundle).items():
        inside = _left_out(module)
        found = get_peft_model_state_dict(module, adapter_name=ADAPTER, save_embedding_layers=False)
        for name, tensor in found.items():
            tensors[_spelled(f"{place}.{inside}{name}")] = as_delta(name, tensor, module=module)
        settings = as_written(module, inside)
        rank = max(rank, settings["r"])
        adapter_config |= {f"{place}.{name}": value for name, value in settings.items() if _is_plain(value)}
    described = json.dumps(adapter_config, sort_keys=True, default=sorted)
    metadata = {"format": "pt", "lora_adapter_metadata": described, "ss_network_dim": str(rank), "ss_network_alpha": str(rank)}
    write_tensors(tensors, path, metadata={**metadata, **facts})
    return path


def spelled(adapter: Adapter) -> dict[str, Tensor]:
    """The tensors of a file in diffusers' names; scales are folded in, for its loaders refuse alpha beside these names.

    Raises `BadFile` for adapters of other kinds than LoRA and DoRA.
    """
    if adapter.others or not adapter.layers:
        raise BadFile(f"this adapter is {', '.join(adapter.kinds)}; only LoRA and DoRA are converted to diffusers' names")
    if adapter.architecture is None and adapter.spelling in ("kohya", "comfyui"):
        raise BadFile("this adapter is for an architecture that is not known here, and its layers' names in diffusers are not either")
    named: dict[str, Tensor] = {}
    for name, factors in adapter.layers.items():
        folded = factors.folded()
        named |= {f"{name}.lora_A.weight": folded.down, f"{name}.lora_B.weight": folded.up}
        if folded.magnitude is not None:
            named[_spelled(f"{name}.{MAGNITUDE}")] = folded.magnitude
    return named


def write_adapter(adapter: Adapter, out: Path, *, facts: Mapping[str, str]) -> None:
    """An adapter in the plain form as a file of diffusers' names, with the metadata by which programs tell what it is."""
    named = spelled(adapter)
    write_tensors(named, out, metadata=describe(adapter, named, facts=facts))


def adapted(bundle: Bundle) -> dict[str, nn.Module]:
    """Parts that carry an adapter, by the pipeline's names for them."""
    names = {id(part): name for name, part in bundle.pipeline.components.items() if isinstance(part, nn.Module)}
    parts = (bundle.denoiser, *bundle.text_encoders)
    return {names[id(part)]: part for part in parts if getattr(part, "peft_config", None)}


def as_delta(name: str, tensor: Tensor, *, module: nn.Module) -> Tensor:
    """A, B or magnitude as it stands for an update with scale 1 of the weights that the base has."""
    layer: Any = module.get_submodule(name.partition(".lora_")[0])
    is_b, is_a = ".lora_B." in name, ".lora_A." in name
    if hasattr(layer, "start_A") and (is_a or is_b):
        tensor = torch.cat([tensor, -layer.start_B], dim=1) if is_b else torch.cat([tensor, layer.start_A])
    return tensor.float() * (layer.scaling[ADAPTER] if is_b else 1.0)


def as_written(module: Any, inside: str) -> dict[str, Any]:
    """PEFT's settings that fit the tensors of the file."""
    settings = module.peft_config[ADAPTER].to_dict()
    times = 2 if any(hasattr(layer, "start_A") for layer in module.modules()) else 1
    optional = f"^({inside})?".replace(".", r"\.") if inside else "^"
    ranks = {name.replace("^", optional, 1): times * rank for name, rank in settings["rank_pattern"].items()}
    whole = times * settings["r"]
    scaled = {"r": whole, "lora_alpha": whole, "rank_pattern": ranks, "alpha_pattern": ranks, "use_rslora": False}
    return {**settings, **scaled, **NO_DROPOUT}


def _spelled(name: str) -> str:
    return f"{name}.weight" if name.endswith(MAGNITUDE) and name.startswith("text_encoder") else name


def _left_out(module: nn.Module) -> str:
    """CLIP's text model lost a level of its names in transformers 5.6; files keep it, and every reader knows it."""
    return "text_model." if type(module).__name__ == "CLIPTextModel" and not hasattr(module, "text_model") else ""


def _is_plain(value: object) -> bool:
    return value is not None and isinstance(value, str | int | float | bool | list | set | dict)
