"""A folder of adapters as PEFT has them, one a part of the pipeline: for updates that diffusers' own file has no names for."""

import json
from pathlib import Path
from typing import Any

from aquatint.atomic import replacing
from aquatint.core.family import Bundle
from aquatint.export.diffusers_lora import ADAPTER, adapted, as_delta, as_written
from aquatint.export.tensors import check_finite, write_tensors

CONFIG, WEIGHTS, FACTS = "adapter_config.json", "adapter_model.safetensors", "aquatint.json"
IMPORT = "from peft import PeftModel"
PREFIX = "base_model.model."
"""How PEFT's model names what it wraps."""


def write(bundle: Bundle, folder: Path, *, facts: dict[str, str]) -> Path:
    """`unet/adapter_model.safetensors`, `unet/adapter_config.json` and so on, atomically; refuses numbers that are not finite."""
    from peft import get_peft_model_state_dict

    parts: dict[str, Any] = adapted(bundle)
    states = {place: get_peft_model_state_dict(part, adapter_name=ADAPTER, save_embedding_layers=False) for place, part in parts.items()}
    check_finite({f"{place}.{name}": tensor for place, state in states.items() for name, tensor in state.items()}, folder)
    with replacing(folder) as aside:
        for place, state in states.items():
            module, settings = parts[place], parts[place].peft_config[ADAPTER].to_dict()
            if settings["peft_type"] == "LORA":  # with its scale folded in, and whole where it began as a part of the weights
                state, settings = {name: as_delta(name, each, module=module) for name, each in state.items()}, as_written(module, "")
            tensors = {PREFIX + name: tensor.float() for name, tensor in state.items()}
            write_tensors(tensors, aside / place / WEIGHTS, metadata={"format": "pt", **facts})
            settings = {**settings, "inference_mode": True}
            settings |= {name: 0.0 for name in settings if name.endswith("_dropout")}  # layers that are put in count as in training
            (aside / place / CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True, default=sorted))
        (aside / FACTS).write_text(json.dumps(facts, indent=1))
    return folder


def load(bundle: Bundle, folder: Path) -> None:
    """As `loading_lines` do."""
    from peft import PeftModel

    for place in _places(folder):
        PeftModel.from_pretrained(getattr(bundle.pipeline, place), folder / place)  # puts its layers into the network that is there


def loading_lines(folder: str) -> list[str]:
    """Python that puts the adapters into `pipe`, after `IMPORT`."""
    loads = [f"pipe.{place} = PeftModel.from_pretrained(pipe.{place}, {str(Path(folder, place))!r})" for place in _places(Path(folder))]
    return [f"{line}.get_base_model()" for line in loads]


def _places(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
