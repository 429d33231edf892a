"""`pytorch_lora_weights.safetensors`: the adapter file that every diffusers pipeline loads.

The scale alpha / rank is folded into B and alpha is written equal to the rank, so a program that ignores alpha is
right too; the alpha of training stays in the metadata as `aquatint.alpha`.
"""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from aquatint.core.family import Bundle
from aquatint.export.tensors import write_tensors

ADAPTER = "default"
"""PEFT's name for the only adapter there is."""


def write(bundle: Bundle, path: Path, *, rank: int, scale: float, facts: dict[str, str]) -> Path:
    """Adapters of the denoiser and, where there are any, of the text encoders."""
    tensors: dict[str, Tensor] = {}
    adapter_config: dict[str, object] = {}
    for prefix, module in adapted(bundle).items():
        from peft import get_peft_model_state_dict

        inside = _left_out(module)
        for name, tensor in get_peft_model_state_dict(module, adapter_name=ADAPTER).items():
            tensors[f"{prefix}.{inside}{name}"] = tensor.float() * (scale if ".lora_B." in name else 1.0)
        configs: Any = module.peft_config
        settings = {**configs[ADAPTER].to_dict(), "r": rank, "lora_alpha": rank}
        adapter_config |= {f"{prefix}.{name}": value for name, value in settings.items() if _is_plain(value)}
    described = json.dumps(adapter_config, sort_keys=True, default=sorted)
    metadata = {"format": "pt", "lora_adapter_metadata": described, "ss_network_dim": str(rank), "ss_network_alpha": str(rank)}
    write_tensors(tensors, path, metadata={**metadata, **facts})
    return path


def adapted(bundle: Bundle) -> dict[str, nn.Module]:
    """Parts that carry an adapter, by the pipeline's names for them."""
    names = {id(part): name for name, part in bundle.pipeline.components.items() if isinstance(part, nn.Module)}
    parts = (bundle.denoiser, *bundle.text_encoders)
    return {names[id(part)]: part for part in parts if getattr(part, "peft_config", None)}


def _left_out(module: nn.Module) -> str:
    """CLIP's text model lost a level of its names in transformers 5.6; files keep it, and every reader knows it."""
    return "text_model." if type(module).__name__ == "CLIPTextModel" and not hasattr(module, "text_model") else ""


def _is_plain(value: object) -> bool:
    return value is not None and isinstance(value, str | int | float | bool | list | set | dict)
