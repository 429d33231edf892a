"""Where what is kept between runs lies: never beside the user's pictures."""

import os
from pathlib import Path


def default_root() -> Path:
    """$AQUATINT_CACHE, or ~/.cache/aquatint."""
    chosen = os.environ.get("AQUATINT_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "aquatint"
