"""Miniatures of every family, made once and copied for each test."""

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from cases import CASES, class_name, family_of
from huggingface_hub.constants import HF_HUB_CACHE
from torch import Tensor

from aquatint.core.family import Bundle
from aquatint.evaluation import proof
from aquatint.methods.base import Method


@cache
def _seeded(case: str) -> Bundle:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bundle: Bundle = family_of(case).tiny(CASES[case][1]).freeze()
    return bundle


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], Bundle]:
    """Case -> a copy of its miniature, with the same weights every time."""
    return lambda case: copy.deepcopy(_seeded(case))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Callable[[str], Path]:
    """Case -> its miniature as a diffusers folder."""

    @cache
    def folder(case: str) -> Path:
        place: Path = tmp_path_factory.mktemp("bases") / case
        _seeded(case).pipeline.save_pretrained(place)
        return place

    return folder


@pytest.fixture(scope="session")
def stock(base_folder) -> Callable[..., Any]:
    """(method, case, saved) -> the stock pipeline, by the lines that a run's README gives; they know nothing of us."""

    def load(method: Method, case: str, *, saved: Path) -> Any:
        name = class_name(case)
        lines = method.loading_lines(name, str(base_folder(case)), saved=str(saved))
        assert "aquatint" not in "".join(lines).replace(str(base_folder(case)), "").replace(str(saved), "")
        space: dict[str, Any] = {name: getattr(diffusers, name), "torch": torch}
        exec("\n".join(lines), space)
        return space["pipe"]

    return load


@pytest.fixture(scope="session")
def answers() -> Callable[..., Tensor]:
    """(bundle, case, pipe=None) -> the network's outputs; of `pipe`'s networks if one is given."""

    def answer(bundle: Bundle, case: str, *, pipe: Any = None) -> Tensor:
        if pipe is not None:
            names = {id(part): name for name, part in bundle.pipeline.components.items()}
            theirs = [getattr(pipe, names[id(part)]) for part in bundle.text_encoders]
            bundle = replace(bundle, pipeline=pipe, denoiser=getattr(pipe, names[id(bundle.denoiser)]), text_encoders=tuple(theirs))
        return proof.outputs(bundle, family_of(case), prompt=proof.question(bundle, "disc"))

    return answer


@pytest.fixture
def on_hub():
    """(folder, "owner/name") -> as the Hub's client caches it: blobs by hash, a snapshot of links, a ref."""
    made = []

    def put(folder, name):
        place = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        made.append(place)
        commit = "0123456789abcdef0123456789abcdef01234567"
        for part in ("blobs", "refs", f"snapshots/{commit}"):
            (place / part).mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert len(files) > 5
        for number, path in enumerate(files):
            blob, link = place / "blobs" / f"{number:040x}", place / "snapshots" / commit / path.relative_to(folder)
            shutil.copy(path, blob)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
        return name

    yield put
    for place in made:
        shutil.rmtree(place)
