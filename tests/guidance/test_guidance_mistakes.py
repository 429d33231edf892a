"""What a user can mend is told in a sentence; before a model is loaded wherever that can be."""

import json
import sys
from pathlib import Path

import pytest
import torch

from aquatint.commands.generate import Generate
from aquatint.config import SettingsError
from aquatint.core.request import Request
from aquatint.errors import BadSetting
from aquatint.families import sd
from aquatint.generation.sampling import walk
from aquatint.guidance.base import Guidance

WRONG = """
import torch
scalar = lambda pixels: pixels.mean()
number = lambda pixels: 3.0
whole = lambda pixels: pixels
detached = lambda pixels: pixels.detach().mean((1, 2, 3))
infinite = lambda pixels: pixels.mean((1, 2, 3)) / 0
NOT_CALLABLE = 4
"""


@pytest.fixture
def _here(tmp_path, monkeypatch):
    """A working directory with a module, one that cannot be imported, a text, and a classifier's config."""
    monkeypatch.chdir(tmp_path)
    Path("wrong_losses.py").write_text(WRONG)
    Path("broken_losses.py").write_text("import no_such_package_of_anybody\n")
    Path("raising_losses.py").write_text("1 / 0\n")
    Path("note.txt").write_text("no picture")
    Path("empty").mkdir()
    Path("classifier").mkdir()
    Path("classifier/config.json").write_text(json.dumps({"id2label": {"0": "tabby cat", "1": "fox"}}))
    path = list(sys.path)
    yield
    sys.path[:] = path
    for module in ("wrong_losses", "broken_losses", "raising_losses"):
        sys.modules.pop(module, None)


SETTINGS = {
    "colour:teal": "color",
    "color:tael": "'tael' is no colour",
    "color": "required",
    "clip": "say text=",
    "image:missing.png": "there is no picture missing.png",
    "image:note.txt": "note.txt cannot be read as a picture",
    "[{kind: clip, image: missing.png}]": "there is no picture missing.png",
    "[{kind: clip, text: a, image: note.txt}]": "note.txt cannot be read",
    "[{kind: clip, text: an owl, model: no such folder}]": "there is no folder no such folder",
    "[{kind: clip, text: an owl, model: empty}]": "has no config.json",
    "[{kind: classifier, label: fxo, model: classifier}]": "did you mean 'fox'",
    "[{kind: classifier, label: '7', model: classifier}]": "no such class",
    "symmetry:diagonal": "sides",
    "python:losses": "must be module.function",
    "python:no_such_module.loss": "there is no module 'no_such_module'",
    "python:broken_losses.loss": "no_such_package_of_anybody",
    "python:raising_losses.loss": "ZeroDivisionError",
    "python:wrong_losses.forgotten": "forgotten",
    "scorer:wrong_losses.NOT_CALLABLE": "is a int, not a function",
    "[{kind: color, target: teal, start: 0.2, stop: 0.5}]": "must be below start",
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("said", "told"), SETTINGS.items())
def test_settings_are_refused_with_a_sentence(said, told):
    with pytest.raises(SettingsError) as caught:
        Generate.read(["pocket", f"guide={said}"])
    assert told in str(caught.value)
    assert "guide" in str(caught.value)


def first_look(*wishes):
    torch.manual_seed(0)
    asked, guidances = [Request("a cat", seed, num_steps=2) for seed in (1, 2)], [Guidance.resolve(wish) for wish in wishes]
    next(walk(sd.tiny().freeze(), asked, guidances=guidances))


FUNCTIONS = {
    "scalar": r"gives a tensor \(\) for 2 pictures", "number": "gives a float for 2 pictures", "whole": r"one number each, \(2,\)",
    "detached": "cannot be differentiated", "infinite": "not finite",
}  # fmt: skip


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("kind", ["python", "scorer"])
@pytest.mark.parametrize(("name", "told"), FUNCTIONS.items())
def test_functions_that_give_something_else_are_told_of(kind, name, told):
    with pytest.raises(BadSetting, match=told):
        first_look(f"{kind}:wrong_losses.{name}")


@pytest.mark.usefixtures("_here")
def test_models_that_cannot_be_had_are_told_of():
    with pytest.raises(BadSetting, match="model=nobody/nothing: cannot be read"):
        first_look({"kind": "clip", "text": "an owl", "model": "nobody/nothing"})
    with pytest.raises(BadSetting, match="model=classifier: cannot be read"):
        first_look({"kind": "clip", "text": "an owl", "model": "classifier"})


def test_the_small_clip_is_not_asked_of_large_pictures():
    bundle = sd.tiny().freeze()
    request = Request("a cat", 1, num_steps=1, width_px=256, height_px=256)
    with pytest.raises(BadSetting, match="openai/clip-vit-base-patch32"):
        next(walk(bundle, [request], guidances=[Guidance.resolve("clip:an owl")]))
