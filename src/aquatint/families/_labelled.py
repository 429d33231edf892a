"""Classes: names and numbers, and how a network is told one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aquatint.core.request import Request
from aquatint.errors import BadBase, BadSetting, why
from aquatint.families import _sources
from aquatint.names import nearest

if TYPE_CHECKING:
    from aquatint.core.family import Bundle, Conditioning

FILE = "labels.json"
"""Names of the classes, beside `model_index.json`: a list, or number -> name; for pipelines that have no place for them."""
SHOWN = 12


def encode(bundle: Bundle, prompts: Sequence[str]) -> Conditioning:
    """`class_labels` (B,): the numbers that the prompts name. Raises `BadSetting` for a class that there is not."""
    import torch

    from aquatint.core.family import Conditioning

    numbers = [number_of(prompt, bundle.labels, null_class=bundle.null_class) for prompt in prompts]
    return Conditioning(class_labels=torch.tensor(numbers, dtype=torch.long, device=bundle.device))


def number_of(prompt: str, labels: Sequence[str], *, null_class: int | None = None) -> int:
    """Of the class with this name, with it as one of several (`tench, Tinca tinca`), or with this number. "" is no class.

    Raises `BadSetting` with the nearest name.
    """
    if not prompt.strip():
        if null_class is None:
            more = f" … {labels[-1]}" if len(labels) > SHOWN else ""
            raise BadSetting(f"every picture of this base is of a class; name one: {', '.join(labels[:SHOWN])}{more}")
        return null_class
    for named in _named(tuple(labels)):
        if found := named.get(_plain(prompt)):
            if len(found) > 1:
                raise BadSetting(f"{prompt!r} is the name of the classes {' and '.join(map(str, found))}; say the number")
            return found[0]
    if prompt.strip().isdecimal() and int(prompt) < len(labels):
        return int(prompt)
    raise BadSetting(f"there is no class {prompt!r}{nearest(prompt, labels)}" if len(labels) <= SHOWN else _unknown(prompt, labels))


def of_source(source: str, num_rows: int) -> tuple[str, ...]:
    """Names of the classes of a base, in order: those of its `labels.json`, or the numbers.

    `num_rows` is that of the table of classes, which may have one more, for none. Raises `BadBase`.
    """
    file = _sources.beside(source, FILE)
    if file is None:
        return tuple(map(str, range(num_rows)))
    try:
        names = in_order(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadBase(f"base={source}: its {FILE} is no list of names ({why(error)})") from error
    if len(names) not in (num_rows, num_rows - 1):
        raise BadBase(f"base={source}: its {FILE} names {len(names)} classes, and its network knows {num_rows}")
    return names


def in_order(named: Sequence[str] | Mapping[str, str]) -> tuple[str, ...]:
    """A list of names, or number -> name, as names in the order of their numbers. Raises `LookupError` where a number is missing."""
    if not isinstance(named, Mapping):
        return tuple(str(name) for name in named)
    by_number = {int(number): str(name) for number, name in named.items()}
    return tuple(by_number[number] for number in range(len(by_number)))


@contextmanager
def said(bundle: Bundle, requests: Sequence[Request]) -> Iterator[None]:
    """Inside, whatever calls the denoiser tells it the classes of these requests: stock pipelines of a `UNet2DModel` have no way to."""
    if bundle.told != "classes":
        yield
        return
    classes = encode(bundle, [request.prompt for request in requests])
    hook = bundle.denoiser.register_forward_pre_hook(lambda _, args, named: (args, {**named, **classes}), with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def is_told_class(config: Mapping[str, Any]) -> bool:
    """Whether a U-Net with this `config.json` must be told a class."""
    return config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None


@lru_cache
def _named(labels: tuple[str, ...]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Whole names, and the parts of names, -> numbers."""
    whole: dict[str, list[int]] = {}
    parts: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        whole.setdefault(_plain(label), []).append(number)
        for part in dict.fromkeys(map(_plain, label.split(","))):
            parts.setdefault(part, []).append(number)
    return whole, parts


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _unknown(prompt: str, labels: Sequence[str]) -> str:
    """With the nearest name, but not with all of a thousand."""
    names = [part.strip() for label in labels for part in label.split(",")]
    found = nearest(prompt, names)
    return f"there is no class {prompt!r}" + (f"; there are {len(labels):,}, from {labels[0]} to {labels[-1]}" if ": " in found else found)
