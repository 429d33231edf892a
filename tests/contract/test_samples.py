"""What a run draws at its beginning was drawn once for all runs that begin alike."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.data.cache import TensorCache
from aquatint.training import samples
from aquatint.training.folder import RunFolder
from aquatint.training.samples import Sampler

WANTED = (Request("a fox", 1, num_steps=2), Request("a red door", 2, num_steps=2))


@pytest.fixture
def sampler(tiny: Callable[[str], Bundle], tmp_path: Path) -> Sampler:
    return Sampler(tiny("sd"), WANTED, RunFolder(tmp_path / "run"), torch.float32, "base", nullcontext, TensorCache(tmp_path / "cache"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call drew."""
    calls: list[int] = []
    whole = samples.draw

    def counting(bundle, requests, **how):
        calls.append(len(requests))
        return whole(bundle, requests, **how)

    monkeypatch.setattr(samples, "draw", counting)
    return calls


def pixels(sampler: Sampler, *, step: int, run: str) -> list[np.ndarray]:
    folder = RunFolder(sampler.folder.path.parent / run)
    return [np.asarray(Image.open(path)) for path in replace(sampler, folder=folder)(step).paths]


def test_the_first_samples_are_drawn_once(sampler: Sampler, drawn: list[int]) -> None:
    first, again, fresh = pixels(sampler, step=0, run="a"), pixels(sampler, step=0, run="b"), pixels(sampler, step=1, run="c")
    assert drawn == [2, 2]  # the second time they were there; at step 1 nobody looks
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(first, again, fresh, strict=True))


@pytest.mark.parametrize("what", ["weights", "text encoder", "autoencoder", "scheduler", "request", "precision"])
def test_whatever_they_depend_on_draws_them_anew(sampler: Sampler, drawn: list[int], what: str) -> None:
    pixels(sampler, step=0, run="a")
    modules = dict(zip(("weights", "autoencoder", "text encoder"), sampler.bundle.modules, strict=True))
    if what in modules:
        with torch.no_grad():
            next(modules[what].parameters()).add_(0.1)
    elif what == "scheduler":
        from diffusers import DDIMScheduler

        sampler.bundle.pipeline.scheduler = DDIMScheduler.from_config(sampler.bundle.pipeline.scheduler.config)
    elif what == "request":
        sampler = replace(sampler, requests=(WANTED[0], replace(WANTED[1], scale=2.0)))
    else:
        sampler = replace(sampler, precision=torch.bfloat16)
    pixels(sampler, step=0, run="b")
    assert drawn == [2, 2]
