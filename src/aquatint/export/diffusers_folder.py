"""A whole model as a diffusers folder."""

import json
from pathlib import Path

import torch

from aquatint.atomic import replacing
from aquatint.core.family import Bundle
from aquatint.families._labelled import FILE as LABELS


def write(bundle: Bundle, folder: Path, *, facts: dict[str, str]) -> Path:
    """The stock pipeline's own saving, atomically, with `aquatint.json` beside it, and the names of classes in `labels.json`.

    Refuses numbers that are not finite.
    """
    bad = [name for module in bundle.modules for name, tensor in module.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise FloatingPointError(f"{len(bad)} tensors are not finite, first {bad[0]}; {folder} was not written")
    with replacing(folder) as aside:
        bundle.pipeline.save_pretrained(aside, safe_serialization=True)
        (aside / "aquatint.json").write_text(json.dumps(facts, indent=1))
        if bundle.labels:
            (aside / LABELS).write_text(json.dumps(bundle.labels, indent=0))
    return folder
