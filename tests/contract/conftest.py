"""Miniatures of every family, made once and copied for each test."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from aquatint.core.family import Bundle
from aquatint.evaluation import proof
from aquatint.registry import families


@cache
def _seeded(family: str) -> Bundle:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bundle: Bundle = families[family].tiny().freeze()
    return bundle


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], Bundle]:
    """Family name -> a copy of its miniature, with the same weights every time."""
    return lambda family: copy.deepcopy(_seeded(family))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Callable[[str], Path]:
    """Family name -> its miniature as a diffusers folder."""

    @cache
    def folder(family: str) -> Path:
        place: Path = tmp_path_factory.mktemp("bases") / family
        _seeded(family).pipeline.save_pretrained(place)
        return place

    return folder


@pytest.fixture(scope="session")
def stock() -> Callable[[list[str]], Any]:
    """Run lines of Python that may use diffusers and nothing else, as the README of a run gives them; -> `pipe`."""

    def run(lines: list[str]) -> Any:
        names = {name for line in lines for name in re.findall(r"\b[A-Z]\w*Pipeline\b", line)}
        space: dict[str, Any] = {name: getattr(diffusers, name) for name in names}
        exec("\n".join(lines), space)
        return space["pipe"]

    return run


@pytest.fixture(scope="session")
def answers() -> Callable[..., Tensor]:
    """(bundle, family name, pipe=None) -> the network's outputs; of `pipe`'s networks if one is given."""

    def answer(bundle: Bundle, family: str, *, pipe: Any = None) -> Tensor:
        if pipe is not None:
            names = {id(part): name for name, part in bundle.pipeline.components.items()}
            theirs = [getattr(pipe, names[id(part)]) for part in bundle.text_encoders]
            bundle = replace(bundle, pipeline=pipe, denoiser=getattr(pipe, names[id(bundle.denoiser)]), text_encoders=tuple(theirs))
        return proof.outputs(bundle, families[family])

    return answer
