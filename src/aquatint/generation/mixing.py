"""Several adapters at once, each with a weight of its own: by layer, and over the time of drawing.

An adapter is W + w B A (Hu et al. 2021); several are summed, layer by layer: W + w1 B1 A1 + w2 B2 A2. While they are on, a hook adds the
update to what a layer says; the network itself is never changed, so nothing is left of it afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator
from typing_extensions import Self

from aquatint.config import Config
from aquatint.errors import BadSetting
from aquatint.methods._places import fits, parts_of_names
from aquatint.names import nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from aquatint.core.denoising import Denoiser, Scene
    from aquatint.core.family import Bundle
    from aquatint.export.adapter import Adapter as Plain
    from aquatint.export.adapter import Factors

NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)"
SHORT = re.compile(rf"(?P<path>.*?)(:(?P<weight>{NUMBER})(\.\.(?P<end>{NUMBER})(/(?P<num>\d+))?)?)?", re.DOTALL)
"""`style:0.8`, or `style:0..1/5` for five weights from 0 to 1."""
FEW = 5
"""Weights of a sweep that does not say how many."""
BLOCKS = {"down": "down_blocks", "mid": "mid_block", "up": "up_blocks"}
"""Short names of a U-Net's blocks."""


class Adapter(Config):
    path: Path
    """A run, a LoRA file of any program, or the folder of a run's adapters."""
    weight: float = 1.0
    """1 is what was trained, 0 nothing; less than nothing leads away from it."""
    blocks: dict[str, float] = Field({})
    """Factors for some layers: `{down: 0.5, mid: 1, up: 1.2, text_encoder: 0}`, or patterns on their names; the last that fits counts."""
    schedule: tuple[tuple[float, float], ...] = ()
    """Factors over the drawing: (noise level, factor) pairs, linear between; 1 is pure noise, where drawing begins, 0 the finished
    picture. `[[1, 0.2], [0, 1]]` lets it in late. Text encoders read before drawing and keep their weight."""
    sweep: tuple[float, ...] = ()
    """Weights of which each is drawn, in place of `weight`: `style:0..1/5`."""

    @model_validator(mode="before")
    @classmethod
    def _from_short(cls, value: Any) -> Any:
        if isinstance(value, Path):
            return {"path": value}
        if not isinstance(value, str):
            return value
        short = SHORT.fullmatch(value)
        if short is None or Path(value).exists():  # a name may end like a weight
            return {"path": value}
        if short["end"] is None:
            return {"path": short["path"], **({"weight": float(short["weight"])} if short["weight"] else {})}
        first, last, num = float(short["weight"]), float(short["end"]), int(short["num"] or FEW)
        if num < 2:
            raise ValueError(f"{value}: a sweep has two weights or more")
        return {"path": short["path"], "sweep": tuple(round(first + (last - first) * i / (num - 1), 6) for i in range(num))}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        levels = [level for level, _ in self.schedule]
        if any(not 0 <= level <= 1 for level in levels) or len(set(levels)) < len(levels):
            raise ValueError("schedule: noise levels lie in [0, 1], each once")
        return self

    def at(self, level: float) -> float:
        """The weight at a noise level."""
        points = sorted(self.schedule)
        if not points:
            return self.weight
        if level <= points[0][0]:
            return self.weight * points[0][1]
        for (low, first), (high, second) in pairwise(points):
            if level <= high:
                return self.weight * (first + (second - first) * (level - low) / (high - low))
        return self.weight * points[-1][1]

    def factor(self, layer: str) -> float:
        """Of a layer, by the last pattern that fits it."""
        return next((self.blocks[name] for name in reversed(list(self.blocks)) if fits(BLOCKS.get(name, name), layer)), 1.0)


def sweeps(adapters: Sequence[Adapter]) -> list[tuple[Adapter, ...]]:
    """All mixes that sweeps ask for, the last one changing fastest; the mix itself where there is none."""
    each = [[adapter.model_copy(update={"weight": w, "sweep": ()}) for w in adapter.sweep] or [adapter] for adapter in adapters]
    return [*product(*each)]


def axes(adapters: Sequence[Adapter]) -> list[tuple[str, Sequence[float]]]:
    """Name and weights of what is swept."""
    return [(adapter.path.stem, adapter.sweep) for adapter in adapters if adapter.sweep]


@dataclass(frozen=True)
class Loaded:
    """An adapter that was read."""

    name: str
    layers: Mapping[str, Factors]
    """Part and layer -> its update."""


@dataclass
class Mix:
    """Guidance: the adapters' weights follow the noise level. Belongs outermost, for it must be heard before anything is asked."""

    level: float = 1.0
    updates: dict[str, list[tuple[Adapter, float, Tensor, Tensor]]] = field(default_factory=dict)
    """Layer -> (adapter, factor, down, up)."""

    def wrap(self, denoise: Denoiser, scene: Scene) -> Denoiser:
        def at_its_time(x_t: Tensor, t: Tensor) -> Tensor:
            self.level = float(t[0])
            return denoise(x_t, t)

        return at_its_time


def read(path: Path, *, name: str) -> Loaded:
    """A file, or a folder of PEFT's with one for each part. Raises `BadFile` for what is none, `BadSetting` for what cannot be mixed."""
    from aquatint.export import reading

    parts = sorted(file.parent for file in path.glob(f"*/{reading.PEFT_FILE}")) if path.is_dir() else []
    plain = {part.name: reading.read(part) for part in parts} or {"": reading.read(path)}
    for each in plain.values():
        _check_kind(each, name)
    layers = {_in_part(layer, part): factors for part, each in plain.items() for layer, factors in each.layers.items()}
    return Loaded(name, layers)


@contextmanager
def mixed(bundle: Bundle, adapters: Sequence[tuple[Adapter, Loaded]]) -> Iterator[Mix]:
    """Inside, all of them are on. Raises `BadSetting` for an adapter of another model, and for blocks that there are not."""
    mix = Mix()
    for adapter, loaded in adapters:
        modules = _modules(bundle, loaded)
        for pattern in adapter.blocks:
            if not any(fits(BLOCKS.get(pattern, pattern), layer) for layer in modules):
                near = nearest(pattern, {*BLOCKS, *parts_of_names(modules)})
                raise BadSetting(f"adapters: {loaded.name}: blocks: {pattern} fits the name of no layer of it{near}")
        for layer in modules:
            down, up = (side.to(bundle.device).float() for side in _sides(loaded.layers[layer]))
            mix.updates.setdefault(layer, []).append((adapter, adapter.factor(layer), down, up))
    with ExitStack() as stack:
        found = {layer: module for _, loaded in adapters for layer, module in _modules(bundle, loaded).items()}
        for layer, module in found.items():
            stack.enter_context(_hooked(module, mix, layer=layer))
        yield mix


def overlap(one: Loaded, other: Loaded) -> float:
    """Cosine of the angle between two updates, all layers together: 0 where they leave each other alone, 1 where they are the same.

    <B1 A1, B2 A2> is the sum over B1* B2 times A1 A2*, so that no update need be multiplied out.
    """

    def inner(a: Mapping[str, Factors], b: Mapping[str, Factors]) -> float:
        total = 0.0
        for layer in a.keys() & b.keys():
            (up, down), (up_2, down_2) = a[layer].matrices(), b[layer].matrices()
            total += float(((up.T @ up_2) * (down @ down_2.T)).sum())
        return total

    norms = inner(one.layers, one.layers) * inner(other.layers, other.layers)
    return inner(one.layers, other.layers) / norms**0.5 if norms > 0 else 0.0


@contextmanager
def _hooked(module: nn.Module, mix: Mix, *, layer: str) -> Iterator[None]:
    is_text = layer.startswith("text_encoder")

    def add(*call: Any) -> Tensor:
        _, (x, *_), said = call
        for adapter, factor, down, up in mix.updates[layer]:
            weight = factor * (adapter.weight if is_text else adapter.at(mix.level))
            if weight:
                said = said + weight * _update(module, x, down=down, up=up).to(said.dtype)
        heard: Tensor = said
        return heard

    hook = module.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def _update(module: Any, x: Tensor, *, down: Tensor, up: Tensor) -> Tensor:
    """B A x; a convolution's A has its kernel, and B is one of a single pixel."""
    from torch.nn.functional import conv2d, linear

    if down.ndim == 2:
        return linear(linear(x.to(down.dtype), down), up)
    layer = getattr(module, "base_layer", module)
    inner = conv2d(x.to(down.dtype), down, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    return conv2d(inner, up)


def _modules(bundle: Bundle, loaded: Loaded) -> dict[str, nn.Module]:
    """Layers by their names in the file. Raises `BadSetting` where the model has no such layer, or one of another size."""
    found = {}
    for layer, factors in loaded.layers.items():
        part, _, inside = layer.partition(".")
        module = _find(getattr(bundle.pipeline, part, None), inside)
        shape = getattr(getattr(module, "base_layer", module), "weight", None)
        if module is None or shape is None or tuple(shape.shape) != _weight_shape(factors):
            model = type(bundle.pipeline).__name__
            why = f"it updates {layer} of shape {list(factors.shape)}, which this base ({model}) does not have"
            raise BadSetting(f"adapters: {loaded.name} is for another model: {why}; aquatint check {loaded.name} says for which")
        found[layer] = module
    return found


def _find(part: Any, inside: str) -> Any:
    """CLIP's text model lost a level of its names in transformers 5.6; files keep it."""
    if part is None:
        return None
    modules = dict(part.named_modules())
    return modules.get(inside) or modules.get(inside.removeprefix("text_model."))


def _weight_shape(factors: Factors) -> tuple[int, ...]:
    return tuple(factors.shape)


def _sides(factors: Factors) -> tuple[Tensor, Tensor]:
    """A and B, with the scale in B."""
    return factors.down, factors.up * factors.scale


def _check_kind(plain: Plain, name: str) -> None:
    if plain.others or plain.is_dora:
        kinds, advice = "/".join(plain.kinds), "merge it into its base (aquatint merge … base= out=), or draw with its run as the model"
        raise BadSetting(f"adapters: {name} is {kinds}, of which there is no sum with a weight; {advice}")


def _in_part(layer: str, part: str) -> str:
    return layer if not part or layer.startswith(f"{part}.") else f"{part}.{layer}"
