"""Every guidance on every family, in miniature: finite, the loss is less than without it, and no picture minds the others."""

import json
import sys
from pathlib import Path

import pytest
import torch
from cases import CASES, family_of, prompts_of
from PIL import Image

from aquatint.core.request import Request
from aquatint.generation.sampling import scene_of, walk
from aquatint.guidance.base import Guidance, Wish
from aquatint.registry import guidances

STEPS = 4
WISHES = {
    "color": {"target": "teal"},
    "clip": {"text": "an owl"},
    "image": {"target": "{folder}/target.png"},
    "classifier": {"label": "ring", "model": "{folder}/classifier"},
    "scorer": {"function": "my_losses.brightness"},
    "symmetry": {},
    "python": {"function": "my_losses.darkness"},
}
THREE = ("sd", "ddpm", "flux")
"""Latents, pixels, and straight lines."""
SCALES = {("spread", "denoiser"): 0.5, ("spread", "estimate"): 0.5, ("likelihood", "estimate"): 50.0, ("likelihood", "denoiser"): 50.0}
LUCK = ("likelihood", "denoiser")
"""Exact where the network is a denoiser; its Jacobian is then a covariance, and with random weights it is none."""
ELSEWHERE = {"classifier_free", "measurement"}
"""No wishes: tests of their own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What wishes are told by: a picture, a classifier, functions."""
    from transformers import ViTConfig, ViTForImageClassification

    place: Path = tmp_path_factory.mktemp("wishes")
    picture = Image.new("RGB", (40, 32), "gold")
    picture.paste("navy", (0, 0, 20, 16))
    picture.save(place / "target.png")
    torch.manual_seed(1)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    classes = {"id2label": {0: "disc", 1: "ring"}, "label2id": {"disc": 0, "ring": 1}}
    config = ViTConfig(**small, **classes, image_size=16, patch_size=4, initializer_range=0.5)
    ViTForImageClassification(config).save_pretrained(place / "classifier")
    shown = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (place / "classifier" / "preprocessor_config.json").write_text(json.dumps(shown))
    (place / "my_losses.py").write_text(
        "def brightness(pixels):\n    return pixels.mean((1, 2, 3))\n\n"
        "def darkness(pixels):\n    return (pixels + 1).square().mean((1, 2, 3))\n"
    )
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))
    sys.modules.pop("my_losses", None)


def wish(kind: str, folder: Path, **settings: object) -> Wish:
    given = {name: value.format(folder=folder) for name, value in WISHES[kind].items()}
    return Guidance.resolve({"kind": kind, **given, **settings})


def tiny(case: str):
    torch.manual_seed(0)
    return family_of(case).tiny(CASES[case][1]).freeze()


def requests(bundle, num: int = 3) -> list[Request]:
    prompts = prompts_of(bundle, num) if bundle.told != "nothing" else [""] * num
    return [Request(prompt, 5 + index, num_steps=STEPS) for index, prompt in enumerate(prompts)]


def drawn(bundle, asked, *wishes) -> torch.Tensor:
    *_, last = walk(bundle, asked, guidances=wishes)
    return last.x_0_BCHW


def losses(bundle, asked, *, guidance: Wish, latents: torch.Tensor) -> torch.Tensor:
    scene = scene_of(bundle, asked, told=bundle.family.conditions(bundle, asked))
    with torch.no_grad():
        return guidance.losses(scene)(scene.decode(latents))


def test_none_is_forgotten():
    assert {*guidances.names()} - ELSEWHERE == {*WISHES}
    assert len(CASES) >= 9


@pytest.mark.parametrize("kind", WISHES)
@pytest.mark.parametrize("case", CASES)
def test_a_wish_is_met_more_than_without_it(case, kind, folder):
    """In every way on three families; on the others in one at least, for a random network's Jacobian may lead anywhere, and a codebook
    rounds small moves away."""
    bundle = tiny(case)
    asked, ways = requests(bundle), [way for way in SCALES if case in THREE or way[0] == "spread"]
    plain, is_met = drawn(bundle, asked), {}
    for units, through in ways:
        guidance = wish(kind, folder, units=units, through=through, scale=SCALES[units, through])
        steered = drawn(bundle, asked, guidance)
        assert steered.isfinite().all()
        before, after = (losses(bundle, asked, guidance=guidance, latents=each) for each in (plain, steered))
        is_met[units, through] = bool(after.mean() < before.mean())
    is_met.pop(LUCK, None)
    assert all(is_met.values()) if case in THREE else any(is_met.values()), is_met


@pytest.mark.parametrize(("kind", "units"), [*((kind, "spread") for kind in WISHES), ("image", "likelihood"), ("classifier", "likelihood")])
@pytest.mark.parametrize("case", THREE)
def test_a_picture_is_the_same_alone_and_among_eight(case, kind, units, folder):
    bundle = tiny(case)
    asked, guidance = requests(bundle, 8), wish(kind, folder, units=units)
    together = drawn(bundle, asked, guidance)
    alone = torch.cat([drawn(bundle, [each], guidance) for each in asked])
    assert (together - alone).abs().max() < 2e-3 * together.abs().max()


@pytest.mark.parametrize("kind", WISHES)
def test_the_short_form_says_what_the_long_one_does(kind, folder):
    guidance = wish(kind, folder, scale=0.25)
    value = WISHES[kind].get(guidance.by, guidance.axis if kind == "symmetry" else "").format(folder=folder)
    if kind != "classifier":  # needs a model too
        assert Guidance.resolve(f"{kind}:{value}*0.25") == guidance
