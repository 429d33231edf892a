"""`aquatint.load(…).generate(…)`: as short as the command line."""

import numpy as np
import pytest
import torch

import aquatint
from aquatint import model as module
from aquatint.cli import run
from aquatint.families._samplers import CURVED, STRAIGHT
from aquatint.registry import families


@pytest.fixture(scope="module")
def model(tiny_sd):
    return aquatint.load(tiny_sd, cpu=True)


def far(a, b) -> int:
    return int(np.abs(np.array(a, dtype=int) - np.array(b, dtype=int)).max())


def test_pictures_come_back(model):
    pictures = model.generate("a cat", num=2, steps=3)
    assert [picture.size for picture in pictures] == [(16, 16)] * 2
    assert far(*pictures) > 5


def test_a_guidance_is_an_object_a_word_or_a_tree(model):
    from aquatint.guidance.color import Color

    drawn = [model.generate("a cat", steps=3, guide=[how])[0] for how in (
        Color(target="teal"), "color:teal", {"kind": "color", "target": "teal"},
    )]  # fmt: skip
    assert far(drawn[0], drawn[1]) == far(drawn[0], drawn[2]) == 0
    assert far(drawn[0], model.generate("a cat", steps=3)[0]) > 0


def test_the_stream_shows_what_is_going_to_be(model):
    seen = list(model.stream("a cat", steps=5, every=2))
    assert [(drawn.step, drawn.is_finished) for drawn in seen] == [(2, False), (4, False), (5, True)]
    assert far(seen[-1].picture, model.generate("a cat", steps=5)[0]) <= 1


def test_one_call_leaves_nothing_to_the_next(model):
    before = model.generate("a cat", steps=4)[0]
    other = model.generate("a cat", steps=4, scheduler="euler_a", guide=["color:red"], size=[32, 16])[0]
    assert other.size == (32, 16)
    assert far(before, model.generate("a cat", steps=4)[0]) == 0


def test_mistakes_are_told_as_on_the_command_line(model):
    with pytest.raises(aquatint.SettingsError, match="did you mean steps"):
        model.generate("a cat", stesp=3)


@pytest.mark.parametrize(("family", "names"), [("sd", CURVED), ("sd3", STRAIGHT)])
def test_every_sampler_draws(family, names):
    torch.manual_seed(0)
    tiny = module.Model(families[family].tiny().freeze(), "tiny")
    drawn = {name: tiny.generate("a cat", steps=6, scheduler=name)[0] for name in names}
    assert all(np.array(picture).std() > 5 for picture in drawn.values())
    assert len({picture.tobytes() for picture in drawn.values()}) >= len(names) - 2, "they are not one and the same"


def test_a_sampler_that_cannot_follow_the_base_is_refused():
    with pytest.raises(aquatint.AquatintError, match="moves its noise levels with the size"):
        module.Model(families["flux"].tiny().freeze(), "tiny").generate("a cat", scheduler="heun")


def test_where_memory_runs_out_fewer_are_drawn_at_once(model, monkeypatch):
    """Three at once are too many here; all five come nevertheless, and are the same."""
    expected, seen = model.generate("a cat", num=5, steps=2, scheduler="ddim", batch_size=1), []
    forward = model.bundle.denoiser.forward

    def cramped(x_t, *args, **kwargs):
        seen.append(len(x_t) // 2)  # with and without the prompt
        if seen[-1] > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(x_t, *args, **kwargs)

    monkeypatch.setattr(model.bundle.denoiser, "forward", cramped)
    drawn = model.generate("a cat", num=5, steps=2, scheduler="ddim")
    assert seen[0] == 5
    assert max(seen[1:]) == 2
    assert max(far(a, b) for a, b in zip(drawn, expected, strict=True)) <= 1
    with pytest.raises(RuntimeError, match="out of memory"):
        model.generate("a cat", num=3, steps=2, scheduler="ddim", batch_size=3)


@pytest.mark.parametrize("guide", [[], ["color:teal"]])
def test_in_bf16_weights_take_half_and_pictures_look_the_same(model, tiny_sd, guide):
    half = aquatint.load(tiny_sd, precision="bf16", cpu=True)
    whole, halved = (sum(p.numel() * p.element_size() for p in m.bundle.denoiser.parameters()) for m in (model, half))
    assert halved < 0.6 * whole
    fine, coarse = (np.array(m.generate("a cat", steps=3, guide=guide)[0], dtype=int) for m in (model, half))
    assert 0 < np.abs(fine - coarse).mean() < 3


def test_the_file_of_a_run_is_the_run(tiny_sd, photos, tmp_path):
    run_dir = tmp_path / "run"
    how = ["steps=1", "samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0"]
    assert run(["train", str(photos), f"base={tiny_sd}", "images.resolution=16", f"out={run_dir}", *how]) == 0
    file = run_dir / "pytorch_lora_weights.safetensors"
    loaded = aquatint.load(file, cpu=True)
    assert loaded.run == run_dir
    assert far(loaded.generate("a cat", steps=2)[0], aquatint.load(run_dir, cpu=True).generate("a cat", steps=2)[0]) == 0
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(file.read_bytes())
    with pytest.raises(aquatint.AquatintError, match=r"adapter for .*generate BASE adapters="):
        aquatint.load(alone, cpu=True)
