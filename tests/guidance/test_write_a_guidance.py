"""docs/write-a-guidance.md is true: its files are written, installed as a plug-in, and steer."""

import re
import sys
from pathlib import Path

import pytest
import torch

from aquatint.core.request import Request
from aquatint.families import sd
from aquatint.generation.sampling import walk
from aquatint.guidance.base import Guidance
from aquatint.registry import guidances

GUIDE = (Path(__file__).parents[2] / "docs" / "write-a-guidance.md").read_text(encoding="utf-8")
PYTHON, TOML = (re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL) for language in ("python", "toml"))


@pytest.fixture
def _installed(tmp_path, monkeypatch):
    """The document's files as a package with an entry point, and its functions in the working directory."""
    (tmp_path / "site" / "my_package").mkdir(parents=True)
    (tmp_path / "site" / "my_package" / "__init__.py").touch()
    (tmp_path / "site" / "my_package" / "calm.py").write_text(PYTHON[1])
    facts = tmp_path / "site" / "my_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    name, group = re.search(r'(calm = )"(.*?)"', TOML[0]).groups()
    assert '"aquatint.guidance"' in TOML[0]
    (facts / "entry_points.txt").write_text(f"[aquatint.guidance]\n{name}{group}\n")
    known, path = dict(Guidance.variants()), list(sys.path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "my_losses.py").write_text(PYTHON[0])
    monkeypatch.chdir(tmp_path)
    yield
    Guidance._variants.clear()
    Guidance._variants.update(known)
    sys.path[:] = path
    for module in ("my_package", "my_package.calm", "my_losses"):
        sys.modules.pop(module, None)


def drawn(*guidances: Guidance) -> torch.Tensor:
    torch.manual_seed(0)
    bundle = sd.tiny().freeze()
    *_, last = walk(bundle, [Request("a cat", seed, num_steps=4) for seed in range(2)], guidances=guidances)
    return bundle.family.decode_latents(bundle, last.x_0_BCHW)


def test_there_are_three_pieces_and_none_is_long():
    assert (len(PYTHON), len(TOML)) == (3, 1)
    assert all(len(code.splitlines()) < 40 for code in PYTHON)


@pytest.mark.usefixtures("_installed")
def test_the_file_is_a_plug_in():
    assert "calm" in guidances.names()
    assert guidances.describe("calm") == "Pictures with few edges."
    calm = Guidance.resolve("calm:0.01*0.8")
    assert (calm.rest, calm.scale) == (0.01, 0.8)
    with pytest.raises(ValueError, match="rest"):
        Guidance.resolve({"kind": "calm", "rest": -1})
    before, after = (calm.loss(drawn(*wishes), None) for wishes in ((), (calm,)))
    assert (after < before).all()


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(("said", "is_score"), [("python:my_losses.darker_above", False), ("scorer:my_losses.sharpness*0.5", True)])
def test_the_functions_steer(said, is_score):
    assert f'guide="{said}"' in GUIDE
    guidance = Guidance.resolve(said)
    import my_losses

    function = getattr(my_losses, said.partition(".")[2].partition("*")[0])
    before, after = function(drawn()), function(drawn(guidance))
    assert ((after > before) if is_score else (after < before)).all()


@pytest.mark.usefixtures("_installed")
def test_a_goal_is_read_as_yaml():
    import yaml

    written = re.search(r"`(\{kind: scorer.*?\})`", GUIDE)[1]
    assert Guidance.resolve(yaml.safe_load(written)).goal == 0.3


def test_more_than_a_loss_steers_too():
    known = dict(Guidance.variants())
    try:
        exec(PYTHON[2], {"__name__": "fade"})
        plain, faded = drawn(), drawn(Guidance.resolve("fade*0.5"))
    finally:
        Guidance._variants.clear()
        Guidance._variants.update(known)
    assert (plain - faded).abs().max() > 0.01
