"""Every kind of adapter on every published model at full size, on the meta device: which layers, and how many numbers.

Counts come from a hand-made table of shapes (`published.py`) and from formulas here, names from `every_adapter.json`, in which a
number in a name stands as *. WRITE_GOLDEN=1 writes that file anew; it is to be read then.
"""

import json
import os
import re
from collections import Counter
from functools import cache
from math import isqrt
from pathlib import Path

import pytest
import torch
from golden.published import MODELS
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import T5Config, T5EncoderModel

from aquatint.families._tiny import tokenizer
from aquatint.methods._own_words import OwnWord, add_word
from aquatint.methods.base import Method
from aquatint.methods.lora import LoRA, Part
from aquatint.registry import families

FILE = Path(__file__).with_name("every_adapter.json")
RANK = 4
TOLD = {"sd": "text", "sdxl": "text", "sd3": "text", "flux": "text", "ddpm": "nothing", "dit": "classes"}
PLACES = ("attention", "convolutions", "text encoders")


def root_factors(number):
    """The two factors that lie nearest to the root, the smaller first."""
    small = max(each for each in range(1, isqrt(number) + 1) if number % each == 0)
    return small, number // small


def kronecker(*shape):
    """C (rows x columns) times B A of the rest, or of one whole matrix where 2 ranks would be no smaller."""
    out, into, kernel = shape
    (rows, rest_out), (columns, rest_in) = root_factors(out), root_factors(into)
    whole = rest_out * rest_in * kernel
    return rows * columns + (whole if max(rest_out, rest_in) <= 2 * RANK else RANK * (rest_out + rest_in * kernel))


FORMULAS = {
    "lora": lambda out, into, kernel: RANK * (out + into * kernel),
    "dora": lambda out, into, kernel: RANK * (out + into * kernel) + out,
    "loha": lambda out, into, kernel: 2 * RANK * (out + into * kernel),
    "lokr": kronecker,
    "oft": lambda out, into, kernel: into // RANK * (RANK * (RANK - 1) // 2),
}
"""Numbers of one layer, by (out, in, pixels of the kernel)."""
ATTACHED = [("attention", variant) for variant in FORMULAS] + [("convolutions", "lora"), ("text encoders", "lora")]
"""For real; the rest is foretold from the shapes of the weights, which the others show to be the same."""


def told(name):
    return {"LDM text": "text", "LDM CelebA-HQ": "nothing"}.get(name) or TOLD[MODELS[name].family]


def by_hand(name, place):
    model = MODELS[name]
    if place != "text encoders":
        return model.attention if place == "attention" else model.attention + model.convolutions
    return sum((Counter({(width, width, 1): 4 * layers}) for _, layers, width in model.encoders), Counter())


def method_for(place, variant):
    return LoRA(rank=RANK, variant=variant, convolutions=place == "convolutions", text_encoder=place == "text encoders")


def parts_of(name, place):
    """The networks of one place on the meta device, and their targets."""
    model, family = MODELS[name], families[MODELS[name].family]
    with torch.device("meta"):
        if place == "text encoders":
            return [Part(f"text_encoder_{i}", build().requires_grad_(False), list(family.text_targets))
                    for i, (build, _, _) in enumerate(model.encoders)]  # fmt: skip
        return [Part(model.part, model.build().requires_grad_(False), method_for(place, "lora")._targets(family))]


@cache
def shapes(name, place):
    """As a file's header says them."""
    named = [(f"text_encoder{f'_{i + 1}' if i else ''}" if place == "text encoders" else part.name, part.module)
             for i, part in enumerate(parts_of(name, place))]  # fmt: skip
    return {key: {each: tuple(p.shape) for each, p in module.named_parameters()} for key, module in named}


def refused(name, place, *, variant):
    """Why this is not for that model, or None."""
    if place == "convolutions" and variant == "oft" and any(kernel > 1 for _, _, kernel in MODELS[name].convolutions):
        found = [problem for part in parts_of(name, place) for problem in method_for(place, variant)._problems(part)]
        return found[0] if found else None
    return method_for(place, variant).misfit(told(name), families[MODELS[name].family])


def patterns(layers):
    return dict(sorted(Counter(re.sub(r"\d+", "*", layer) for layer in layers).items()))


WEIGHTS = {  # in thousands
    "SD 1.5": 859_521, "SD 2.1": 865_911, "SDXL base": 2_567_464, "SD3 medium": 2_028_328, "SD3.5 medium": 2_243_172,
    "SD3.5 large": 8_056_628, "FLUX.1 dev": 11_901_408, "FLUX.1 schnell": 11_891_179, "DDPM CIFAR-10": 35_747, "DDPM bedroom": 113_673,
    "LDM CelebA-HQ": 274_057, "LDM text": 872_300,
    "DiT-XL/2": 675_130 - 256 * 1_152 // 1_000 + 27 * (256 * 1_152 + 1_152 + 1_152 * 1_152 + 1_152 + 1_001 * 1_152) // 1_000,
}  # fmt: skip
"""Of each denoiser, as published. DiT's places are fixed, and in diffusers each of its 28 blocks embeds time and class by itself."""
CELLS = [(name, place, variant) for name in MODELS for place in PLACES for variant in FORMULAS]
MEANT = [cell for cell in CELLS if not (cell[1] == "text encoders" and not MODELS[cell[0]].encoders)
         and not (cell[1] == "convolutions" and not MODELS[cell[0]].convolutions)
         and not (cell[1] == "convolutions" and cell[2] == "oft")]  # fmt: skip


def test_the_matrix_is_whole(capsys):
    """13 models x 3 places x 5 forms; what is not meant is refused, with a reason."""
    assert (len(MODELS), len(CELLS), len(MEANT)) == (13, 195, 149)
    assert {model.family for model in MODELS.values()} == set(families.names())
    reasons = {cell: refused(*cell[:2], variant=cell[2]) for cell in CELLS if cell not in MEANT}
    assert [cell for cell, reason in reasons.items() if not reason] == []
    with capsys.disabled():
        print(f"\n{len(MEANT)} adapters of published models, {len(reasons)} refused with a reason")


@pytest.mark.parametrize("name", MODELS)
def test_the_models_are_the_published_ones(name):
    weights = sum(torch.Size(shape).numel() for part in shapes(name, "attention").values() for shape in part.values())
    assert abs(weights / 1000 - WEIGHTS[name]) < 2


def test_the_best_known_count_of_all():
    assert sum(num * FORMULAS["lora"](*shape) for shape, num in MODELS["SD 1.5"].attention.items()) == 797_184


def test_t5_is_read_and_never_adapted():
    sizes = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
    with torch.device("meta"):
        t5 = T5EncoderModel(T5Config(vocab_size=32128, **sizes))
    assert sum(p.numel() for p in t5.parameters()) == 4_762_310_656
    ends = tuple(f".{target}" for target in families["flux"].text_targets)
    assert not [name for name, _ in t5.named_modules() if name.endswith(ends)]


@pytest.mark.parametrize(("name", "place", "variant"), MEANT)
def test_as_many_numbers_as_by_hand(name, place, variant):
    layers = by_hand(name, place)
    expected = sum(num * FORMULAS[variant](*shape) for shape, num in layers.items())
    family, method = families[MODELS[name].family], method_for(place, variant)
    known = {**shapes(name, place)}
    if place == "text encoders":  # the denoiser is adapted too
        known |= shapes(name, "attention")
        expected += sum(num * FORMULAS[variant](*shape) for shape, num in by_hand(name, "attention").items())
    assert method.num_trained(known, family) == expected


@pytest.mark.parametrize(("place", "variant"), ATTACHED)
@pytest.mark.parametrize("name", MODELS)
def test_the_layers_that_are_adapted_for_real(name, place, variant):
    if (name, place, variant) not in MEANT:
        assert refused(name, place, variant=variant)
        return
    method, layers, numbers = method_for(place, variant), [], 0
    for part in parts_of(name, place):
        assert not list(method._problems(part))
        with torch.device("meta"):
            numbers += sum(p.numel() for p in method._adapt(part).values())
        layers += [f"{part.name}.{each}" for each, module in part.module.named_modules() if isinstance(module, BaseTunerLayer)]
    assert numbers == sum(num * FORMULAS[variant](*shape) for shape, num in by_hand(name, place).items())
    assert len(layers) == sum(by_hand(name, place).values())
    golden = json.loads(FILE.read_text()) if FILE.exists() else {}
    if "WRITE_GOLDEN" in os.environ:
        golden.setdefault(name, {})[place] = patterns(layers)
        FILE.write_text(json.dumps(golden, indent=1) + "\n")
    assert patterns(layers) == golden[name][place]


WORDS = [name for name, model in MODELS.items() if families[model.family].no_own_word is None and told(name) == "text"]


@pytest.mark.parametrize("kind", ["textual_inversion", "pivotal"])
@pytest.mark.parametrize("name", MODELS)
def test_words(name, kind):
    """A vector in every text encoder that learns one; elsewhere a reason why not."""
    model, method = MODELS[name], Method.resolve({"kind": kind, "vectors": 3})
    family = families[model.family]
    if name not in WORDS:
        assert method.misfit(told(name), family)
        return
    known = shapes(name, "text encoders") | shapes(name, "attention")
    word = 3 * sum(width for _, _, width in model.encoders)
    adapters = sum(num * 16 * (out + into) for (out, into, _), num in model.attention.items()) if kind == "pivotal" else 0
    assert method.misfit("text", family) is None
    assert method.num_trained(known, family) == word + adapters


@pytest.mark.parametrize("name", ["SD 1.5", "SD 2.1"])
def test_a_word_is_put_into_a_full_sized_encoder(name):
    """Its table for real, the rest on the meta device."""
    ((build, _, width),) = MODELS[name].encoders
    with torch.device("meta"):
        encoder = build().requires_grad_(False)
    table = torch.nn.Embedding(49408, width).requires_grad_(False)
    encoder.set_input_embeddings(table)

    class Base:
        tokenizers, adaptable = (tokenizer(77),), (encoder,)

    (trained,) = add_word(Base(), "zwx", num=3).values()
    assert trained.shape == (3, width)
    assert isinstance(encoder.get_input_embeddings(), OwnWord)
    assert sorted({name: p for name, p in encoder.named_parameters() if p.requires_grad}) == [
        name for name, p in encoder.named_parameters() if p is trained
    ]


@pytest.mark.parametrize("name", MODELS)
def test_classes(name):
    """A row for each new class and one for none, as long as the embedding of time; and the network, where it is trained too."""
    family, known = families[MODELS[name].family], shapes(name, "attention")
    rows, whole = (Method.resolve({"kind": "class_conditional", "classes": ["a", "b"], "denoiser": each}) for each in (False, True))
    if MODELS[name].family != "ddpm":
        assert rows.misfit(told(name), family)
        return
    assert rows.num_trained(known, family) == 3 * 4 * 128
    weights = sum(torch.Size(shape).numel() for part in known.values() for shape in part.values())
    assert whole.num_trained(known, family) == weights + 3 * 4 * 128
