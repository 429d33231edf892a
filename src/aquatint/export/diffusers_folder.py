"""A whole model as a diffusers folder."""

import json
from pathlib import Path

from aquatint.core.family import Bundle
from aquatint.export.atomic import replacing


def write(bundle: Bundle, folder: Path, *, facts: dict[str, str]) -> Path:
    """The stock pipeline's own saving, atomically, with `aquatint.json` beside it."""
    with replacing(folder) as aside:
        bundle.pipeline.save_pretrained(aside, safe_serialization=True)
        (aside / "aquatint.json").write_text(json.dumps(facts, indent=1))
    return folder
