"""Miniatures of every family, made once and copied for each test."""

import copy
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
from aquatint.methods.base import Method
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
def stock(base_folder) -> Callable[..., Any]:
    """(method, family name, saved) -> the stock pipeline, by the lines that a run's README gives; they know nothing of us."""

    def load(method: Method, family: str, *, saved: Path) -> Any:
        name = families[family].PIPELINE
        lines = method.loading_lines(name, str(base_folder(family)), saved=str(saved))
        assert "aquatint" not in "".join(lines).replace(str(base_folder(family)), "").replace(str(saved), "")
        space: dict[str, Any] = {name: getattr(diffusers, name), "torch": torch}
        exec("\n".join(lines), space)
        return space["pipe"]

    return load


@pytest.fixture(scope="session")
def answers() -> Callable[..., Tensor]:
    """(bundle, family name, pipe=None) -> the network's outputs; of `pipe`'s networks if one is given."""

    def answer(bundle: Bundle, family: str, *, pipe: Any = None) -> Tensor:
        if pipe is not None:
            names = {id(part): name for name, part in bundle.pipeline.components.items()}
            theirs = [getattr(pipe, names[id(part)]) for part in bundle.text_encoders]
            bundle = replace(bundle, pipeline=pipe, denoiser=getattr(pipe, names[id(bundle.denoiser)]), text_encoders=tuple(theirs))
        return proof.outputs(bundle, families[family], prompt=proof.question("disc"))

    return answer
