"""Further forms of a run's adapter, for other programs; each is loaded again before the run is called finished."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from aquatint.core.family import Bundle
from aquatint.errors import Unproven
from aquatint.evaluation import proof
from aquatint.export import kohya
from aquatint.export.adapter import Factors
from aquatint.export.architectures import ARCHITECTURES, of_family
from aquatint.export.native import Blocks
from aquatint.export.opening import header
from aquatint.export.reading import read
from aquatint.training.settings import Train


@dataclass(frozen=True)
class Answers:
    """`proof.outputs` of the base, of the trained model, and of a fresh base that has loaded a file."""

    base: Tensor
    trained: Tensor
    of: Callable[[Path], Tensor]


def architecture(config: Train, bundle: Bundle) -> str | None:
    """Among those that other programs know; None for others."""
    settings: Any = bundle.denoiser.config
    return of_family(config.family, context_width=getattr(settings, "cross_attention_dim", None))


def write_kohya(config: Train, saved: Path, *, bundle: Bundle, answers: Answers) -> Path:
    """The kohya form beside `saved`, an adapter of `bundle`. Raises `Unproven`.

    The file of a U-Net is loaded by the stock pipeline. Diffusers has no converter for Stable Diffusion 3, one for FLUX that knows
    full-size models alone, and leaves DoRA's magnitudes out: of those the file is read back and compared number by number.
    """
    name, blocks = architecture(config, bundle), _blocks(bundle)
    out = kohya.write_beside(saved, load_file(saved), facts=header(saved).metadata, architecture=name, blocks=blocks)
    if name and ARCHITECTURES[name].denoiser == "unet" and not read(saved).is_dora:
        proof.compare(out, loaded=answers.of(out), base=answers.base, trained=answers.trained)
    else:
        _read_back(saved, out, blocks=blocks)
    return out


def _blocks(bundle: Bundle) -> Blocks | None:
    settings: Any = bundle.denoiser.config
    kinds = getattr(settings, "up_block_types", None)
    return Blocks.of(settings.layers_per_block, kinds) if kinds else None


def _read_back(saved: Path, out: Path, *, blocks: Blocks | None = None) -> None:
    ours, theirs = read(saved).layers, read(out, blocks=blocks).layers
    differing = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    differing += [name for name in ours if name in theirs and not _are_alike(ours[name], theirs[name])]
    if differing:
        raise Unproven(f"{out}, read again, is another adapter than {saved} in {len(differing)} layers, first {differing[0]}")


def _are_alike(one: Factors, other: Factors) -> bool:
    """Magnitudes and factors to the bit; where one form has a larger rank than the other, the factors' products."""
    lengths = [factors.magnitude for factors in (one, other) if factors.magnitude is not None]
    if len(lengths) == 1 or (lengths and not torch.equal(lengths[0].flatten(), lengths[1].flatten())):
        return False
    if one.rank == other.rank:
        return all(map(torch.equal, one.matrices(), other.matrices()))
    return torch.allclose(one.delta(), other.delta(), rtol=1e-5, atol=1e-7)
