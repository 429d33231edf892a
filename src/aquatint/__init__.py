"""Fine-tune diffusion models on your own images, and prove that it worked."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AquatintError": "aquatint.errors",
    "Choice": "aquatint.config",
    "Config": "aquatint.config",
    "Guidance": "aquatint.guidance.base",
    "Model": "aquatint.model",
    "Runtime": "aquatint.training.runtime",
    "SettingsError": "aquatint.config",
    "Trainer": "aquatint.training.trainer",
    "Wish": "aquatint.guidance.base",
    "load": "aquatint.model",
}


def __getattr__(name: str) -> Any:
    """Public names, imported when first used: `import aquatint` itself is free."""
    if name not in _HOMES:
        raise AttributeError(f"module 'aquatint' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
