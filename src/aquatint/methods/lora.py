"""Low-rank adaptation (Hu et al. 2021), W x + (alpha / rank) B A x, of which only A and B are trained; and its kin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, PositiveFloat, model_validator
from typing_extensions import Self

from aquatint.errors import BadSetting
from aquatint.methods._forms import FORMS, Form
from aquatint.methods._places import chosen, ends_of_names, fits, layer_of, parts_of_names, setting_at
from aquatint.methods.base import DENOISER, Method, Shapes, of_kind, pipeline_lines
from aquatint.names import nearest

if TYPE_CHECKING:
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily

FILE, FOLDER = "pytorch_lora_weights.safetensors", "adapter"
IN_FILE = ("lora", "dora")
"""Variants that stock diffusers loads from a file; others come as a folder for PEFT."""
ADAPTER = "default"
"""PEFT's name for the only adapter there is."""
TEXT = "text_encoder_"
Rank = Annotated[int, Field(ge=1, le=1024)]


class Part(NamedTuple):
    """A network of the bundle, and the last parts of the names of its layers to adapt."""

    name: str
    module: nn.Module
    targets: list[str]


class LoRA(Method, kind="lora"):
    """Small matrices beside the frozen weights; a file of a few megabytes."""

    rank: Rank = 16
    """Rank of the update; the file grows linearly with it. With `variant=oft`: side of the rotated blocks."""
    alpha: PositiveFloat | None = None
    """The update is scaled by alpha / rank. Not given: alpha = rank."""
    targets: tuple[str, ...] = ()
    """Last parts of the names of the layers to adapt. Not given: the attention layers of the family."""
    convolutions: bool = False
    """Adapt the convolutions too (LoCon): learns shapes and textures better, for a larger file."""
    text_encoder: bool = False
    """Adapt the attention of the text encoders too."""
    text_encoder_lr: PositiveFloat | None = None
    """Their peak learning rate; `lr` does not change it then. Not given: `lr`."""
    variant: Literal["lora", "dora", "loha", "lokr", "oft"] = "lora"
    """Form of the update: a product of two matrices (`lora`), that and the length of every row (`dora`), of several (`loha`, `lokr`),
    a rotation (`oft`). Those from `loha` on are written as a folder that PEFT loads; the others as a file for every program."""
    rank_stabilised: bool = False
    """Scale by alpha / sqrt(rank) (Kalajdzievski 2023), so that high ranks learn as fast as low ones."""
    init: Literal["default", "pissa"] = "default"
    """`pissa` begins with the largest components of the weights instead of nothing (Meng et al. 2024); doubles the file."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of an adapter's inputs (`loha`, `lokr`: of its rows) that is left out in each pass while training."""
    plus_ratio: PositiveFloat | None = None
    """Learning rate of B over that of A (LoRA+, Hayou et al. 2024, who advise about 16). Not given: 1."""
    ranks: dict[str, Rank] = Field({})
    """Other ranks for some layers: `{mid_block: 32, attn2.to_*: 4}`. A pattern is a run of whole parts of a layer's name; the last
    that fits counts."""
    rates: dict[str, PositiveFloat] = Field({})
    """Factors on the learning rate of some layers, by patterns likewise."""

    @property
    def trains_text_encoder(self) -> bool:
        return self.text_encoder

    @property
    def keeps_base(self) -> bool:
        return self.init == "default" and self.variant != "dora"  # which measure or change them

    @property
    def default_lr(self) -> float:
        return 1e-4 * self.form.rate

    @property
    def has_several_rates(self) -> bool:
        return bool(self.text_encoder_lr) or any(factor != 1 for factor in (self.plus_ratio or 1, *self.rates.values()))

    @property
    def form(self) -> Form:
        return FORMS[self.variant]

    @model_validator(mode="after")
    def _has_meaning(self) -> Self:
        known = {*self.form.names, *(("init", "plus_ratio") if self.form.has_sides else ())}
        asked = ("alpha", "rank_stabilised", "init", "dropout", "plus_ratio", "ranks")
        idle = [name for name in asked if name not in known and getattr(self, name) != type(self).model_fields[name].default]
        says = "says nothing here; leave it out" if len(idle) == 1 else "say nothing here; leave them out"
        wrong = [f"{' and '.join(idle)} beside variant={self.variant} {says}"] if idle else []
        if self.text_encoder_lr and not self.text_encoder:
            wrong.append("text_encoder_lr needs text_encoder=true")
        if wrong:
            raise ValueError(", and ".join(wrong))
        return self

    # ------------------------------------------------------------------------------------------ what is foretold

    def misfit(self, told: str, family: ModelFamily) -> str | None:
        if self.convolutions and not family.convolution_targets:
            return "it has no convolutions; leave method.convolutions out"
        return super().misfit(told, family)

    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        return sum(self.form.size(shape, rank) for shape, rank in self._foretold(parts, family))

    def num_written(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        begun = FORMS["lora"].size if self.init == "pissa" else lambda shape, rank: 0
        return self.num_trained(parts, family) + sum(begun(shape, rank) for shape, rank in self._foretold(parts, family))

    def _foretold(self, parts: Mapping[str, Shapes], family: ModelFamily) -> Iterator[tuple[Any, int]]:
        """Shape and rank of every layer to adapt."""
        text_targets = family.text_targets if self.text_encoder else ()
        for kind, targets in ((DENOISER, self._targets(family)), (family.text_parts, text_targets)):
            for name, shape in chosen(of_kind(parts, kind), targets).items():
                yield shape, self._rank(name.partition(".")[2])

    def _targets(self, family: ModelFamily) -> list[str]:
        return [*(self.targets or family.lora_targets), *(family.convolution_targets if self.convolutions else ())]

    def _rank(self, layer: str) -> int:
        return setting_at(layer, self.ranks, otherwise=self.rank)

    # ------------------------------------------------------------------------------------------ what is refused

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        parts = self._parts(bundle, family)
        problems = [problem for part in parts for problem in self._problems(part)]
        problems += self._idle(parts, family)
        if problems:
            raise BadSetting("\n".join(problems))

    def _parts(self, bundle: Bundle, family: ModelFamily) -> list[Part]:
        """Text encoders without a layer of the family's names (there may be several, of several makes) stay as they are."""
        encoders = bundle.adaptable if self.text_encoder else ()
        texts = [Part(f"{TEXT}{i}", module, list(family.text_targets)) for i, module in enumerate(encoders)]
        return [Part("denoiser", bundle.denoiser, self._targets(family)), *(part for part in texts if _layers(part))]

    def _problems(self, part: Part) -> Iterator[str]:
        """Targets that are no layers, layers that no adapter fits, and layers that the rank does not fit."""
        from torch import nn

        what, modules = type(part.module).__name__, dict(part.module.named_modules())
        known = {name: module for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)}
        for target in part.targets:
            found = [name for name in modules if name == target or name.endswith("." + target)]
            if wrong := next((name for name in found if name not in known), ""):
                kind = type(modules[wrong]).__name__
                yield f"method.targets: only linear layers and convolutions can be adapted, and {wrong} is a {kind}"
            if target in self.targets and not found:
                yield f"method.targets: no layer of {what} is named {target}{nearest(target, ends_of_names(known))}"
        if part.name == "denoiser" and not self.targets and not _layers(part):
            no_layer = f"{what} has no layer named {' or '.join(part.targets)}"
            yield f"method.targets: {no_layer}; method.convolutions=true adapts its convolutions, method=full trains all of it"
        misfits: dict[tuple[int, str], list[tuple[int, str, str]]] = {}
        for name, shape in _layers(part).items():
            if name in known and (problem := self.form.problem(shape, rank := self._rank(name))):
                misfits.setdefault((rank, problem[0]), []).append((min(shape[:2]), name, problem[1]))
        for (rank, are), layers in misfits.items():
            _, first, advice = min(layers, key=lambda layer: layer[0])
            setting = "rank" if rank == self.rank else "ranks"
            yield f"method.{setting}={rank}: {len(layers)} layers of {what} are {are}, first {first}; {advice}"

    def _idle(self, parts: list[Part], family: ModelFamily) -> Iterator[str]:
        """Settings that reach no layer."""
        layers = [name for part in parts for name in _layers(part)]
        if self.text_encoder and len(parts) == 1:
            yield "method.text_encoder: this base has no text encoder that can be adapted; leave it out"
        if self.convolutions and not _layers(parts[0]._replace(targets=list(family.convolution_targets))):
            yield "method.convolutions: this base has none that are adapted; leave it out"
        for setting, patterns in (("ranks", self.ranks), ("rates", self.rates)):
            for pattern in patterns:
                if layers and not any(fits(pattern, layer) for layer in layers):
                    yield f"method.{setting}: {pattern} fits the name of no adapted layer{nearest(pattern, parts_of_names(layers))}"

    # ------------------------------------------------------------------------------------------ training

    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        self.check(bundle, family, trigger=trigger)
        bundle.freeze()
        return {f"{part.name}.{name}": p for part in self._parts(bundle, family) for name, p in self._adapt(part).items()}

    def _adapt(self, part: Part) -> dict[str, nn.Parameter]:
        from peft import inject_adapter_in_model

        from aquatint.methods._pissa import begin_principal

        inject_adapter_in_model(self._peft_config(part), part.module, adapter_name=ADAPTER)
        if self.init == "pissa":
            begin_principal(part.module, adapter=ADAPTER)
        part.module.train()
        return {name: p for name, p in part.module.named_parameters() if p.requires_grad}

    def _peft_config(self, part: Part) -> Any:
        import peft

        from aquatint.methods._layers import lean

        ranks = {f"^{name}": rank for name in _layers(part) if (rank := self._rank(name)) != self.rank}
        alphas = {name: self._alpha(rank) for name, rank in ranks.items()}
        ours = {
            "rank": self.rank, "ranks": ranks, "alpha": self._alpha(self.rank), "alphas": alphas,
            "dropout": self.dropout, "rank_stabilised": self.rank_stabilised,
        }  # fmt: skip
        config = getattr(peft, self.form.config)(
            target_modules=part.targets, **{theirs: ours[name] for name, theirs in self.form.names.items()}, **self.form.fixed
        )
        return lean(config) if self.variant == "lora" else config

    def _alpha(self, rank: int) -> float:
        return self.alpha or (self.rank if self.rank_stabilised else rank)

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        groups: dict[tuple[float | None, float], list[nn.Parameter]] = {(None, 1.0): []}  # first, for its rate is the one that is told
        for name, parameter in trained.items():
            own = self.text_encoder_lr if name.startswith(TEXT) else None
            ratio = self.plus_ratio if self.plus_ratio and ".lora_B." in name else 1.0
            factor = ratio * setting_at(layer_of(name), self.rates, otherwise=1.0)
            groups.setdefault((own, factor), []).append(parameter)
        rates = {(own, factor): {"lr": own} if own else {} for own, factor in groups}
        return [{"params": groups[key], **rates[key], "lr_factor": key[1]} for key in groups if groups[key]]

    # ------------------------------------------------------------------------------------------ files

    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        from aquatint.export import diffusers_lora, peft_folder

        if self.variant not in IN_FILE or not hasattr(bundle.pipeline, "load_lora_weights"):
            return peft_folder.write(bundle, out_dir / FOLDER, facts=facts)
        return diffusers_lora.write(bundle, out_dir / FILE, facts={**facts, "aquatint.alpha": str(self._alpha(self.rank))})

    def load(self, bundle: Bundle, saved: Path) -> None:
        from aquatint.export import peft_folder

        if saved.is_dir():
            peft_folder.load(bundle, saved)
        else:
            bundle.pipeline.load_lora_weights(saved.parent, weight_name=saved.name)

    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        from aquatint.export import peft_folder

        lines = pipeline_lines(pipeline, base)
        if not Path(saved).is_dir():
            return [*lines, f"pipe.load_lora_weights({saved!r})"]
        return [peft_folder.IMPORT, *lines, *peft_folder.loading_lines(saved)]


def _layers(part: Part) -> dict[str, Any]:
    """Names of the layers to adapt, and the shapes of their weights."""
    layers = [(name, layer) for name, layer in part.module.named_modules() if getattr(layer, "weight", None) is not None]
    return chosen({f"{name}.weight": _shape(layer) for name, layer in layers}, part.targets)


def _shape(layer: Any) -> tuple[int, ...]:
    """Of its weight as it multiplies; what is held in few bits is packed."""
    return (layer.out_features, layer.in_features) if hasattr(layer, "out_features") else tuple(layer.weight.shape)
