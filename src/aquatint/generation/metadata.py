"""What a picture says of itself, in PNG text chunks: enough to draw it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from aquatint.core.request import Request
from aquatint.errors import BadFile, why

SETTINGS = "aquatint.settings"


def png_info(
    request: Request, *, base: str, adapter: str | None, scheduler: str, settings: Mapping[str, Any] | None = None
) -> PngInfo:  # fmt: skip
    """How a picture was made, in chunks that people read; and `settings`, from which `read_settings` gives them back."""
    info = PngInfo()
    facts = {**vars(request), "base": base, "adapter": adapter, "scheduler": scheduler, "software": "aquatint"}
    for name, value in facts.items():
        if value not in (None, ""):
            info.add_itxt(name, str(value))
    if settings is not None:
        info.add_itxt(SETTINGS, json.dumps(settings, ensure_ascii=False))
    return info


def read_settings(path: Path) -> dict[str, Any]:
    """Raises `BadFile` for a picture that does not say how it was drawn."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            text = getattr(picture, "text", {}).get(SETTINGS)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadFile(f"{path}: this is no PNG that can be read ({why(error)})") from None
    if text is None:
        reason = "a picture of aquatint generate says so in its text chunks, which some programs drop when they save it"
        raise BadFile(f"{path} does not say how it was drawn: {reason}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadFile(f"{path}: what it says of how it was drawn is damaged")
    return found
