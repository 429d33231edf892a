"""Miniatures of the families whose pipelines take a prompt, made once; frozen, and not to be changed by a test."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from aquatint.core.family import Bundle
from aquatint.registry import families


@pytest.fixture(scope="session")
def miniature() -> Callable[[str], Bundle]:
    """Family -> its miniature, the same every time."""

    @cache
    def make(name: str) -> Bundle:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        bundle: Bundle = families[name].tiny().freeze()
        return bundle

    return make


@pytest.fixture
def heard() -> Callable[..., list[dict[str, Any]]]:
    """(module, call) -> what the module is given, by the names of its arguments, each time that `call()` runs it."""
    import inspect

    def listen(module: Any, call: Callable[[], Any]) -> list[dict[str, Any]]:
        given: list[dict[str, Any]] = []
        names = inspect.signature(type(module).forward)
        hook = module.register_forward_pre_hook(
            lambda _, args, named: given.append(dict(names.bind(module, *args, **named).arguments)), with_kwargs=True
        )
        try:
            with torch.no_grad():
                call()
        finally:
            hook.remove()
        return [{name: value for name, value in one.items() if name != "self"} for one in given]

    return listen
