"""The user's own functions of pictures: imported by name, and held to what they must give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aquatint.errors import BadSetting

if TYPE_CHECKING:
    from torch import Tensor


def imported(name: str) -> Callable[[Any], Any]:
    """`my_module.my_loss` of the working directory or an installed package. Raises ValueError with what is wrong."""
    module_name, _, function_name = name.replace(":", ".").rpartition(".")
    if not module_name:
        raise ValueError(f"{name!r} must be module.function, like my_losses.darker")
    if (here := str(Path.cwd())) not in sys.path:  # `python -m` has it there, installed commands have not
        sys.path.append(here)
    try:
        found = getattr(import_module(module_name), function_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name}: there is no module {error.name!r} in this folder, nor is it installed") from error
    except AttributeError as error:
        raise ValueError(f"{name}: {error}") from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise ValueError(f"{name}: importing {module_name} failed with {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}, not a function of pictures")
    function: Callable[[Any], Any] = found
    return function


def called(function: Callable[[Any], Any], pixels_BCHW: Tensor, *, name: str) -> Tensor:
    """What it gives, (B,). Raises `BadSetting` where that is not one number a picture, not finite or not differentiable."""
    from torch import Tensor

    found, wanted = function(pixels_BCHW), (len(pixels_BCHW),)
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        got = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise BadSetting(f"{name} gives {got} for {wanted[0]} pictures, and must give one number each, {wanted}: end with .mean((1, 2, 3))")
    if pixels_BCHW.requires_grad and not found.requires_grad:
        raise BadSetting(f"{name} cannot be differentiated: make it of torch's functions of the pixels, without detach, item or numpy")
    if not found.isfinite().all():
        raise BadSetting(f"{name} gives {found.detach().tolist()}, which is not finite")
    return found
