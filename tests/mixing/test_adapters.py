"""Adapters with weights: held to what stock pipelines draw with the same file, on miniatures of every family."""

import numpy as np
import pytest
import torch

import aquatint
from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.errors import AquatintError
from aquatint.generation.mixing import Adapter, overlap, read
from aquatint.generation.settings import Drawing
from aquatint.registry import families

QUICK = ["steps=2", "lr=2e-2", "samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0", "prior.num=0"]
TOLD = {"sd": "text", "sdxl": "text", "sd3": "text", "flux": "text", "ddpm": "nothing", "ldm": "text", "dit": "classes"}
PROMPTS = {"text": "a cat", "classes": "1", "nothing": ""}


def far(a, b) -> int:
    return int(np.abs(np.array(a, dtype=int) - np.array(b, dtype=int)).max())


@pytest.fixture(scope="module")
def trained(tmp_path_factory, photos):
    """(family, name, settings …) -> a run on its miniature, and the miniature."""
    made = {}

    def make(family, name="one", *, how=()):
        key = (family, name)
        if key not in made:
            place = tmp_path_factory.mktemp("mixing")
            torch.manual_seed(0)
            families[family].tiny(TOLD[family]).pipeline.save_pretrained(place / "base")
            side = families[family].tiny(TOLD[family]).resolution_px
            told = ["images.template=1"] if TOLD[family] == "classes" else []
            given = [str(photos), f"base={place / 'base'}", f"images.resolution={side}", f"out={place / 'run'}", *QUICK, *how, *told]
            assert run(["train", *given]) == 0
            made[key] = place / "base", place / "run"
        return made[key]

    return make


@pytest.mark.parametrize("family", sorted(TOLD))
def test_weight_one_is_the_run_and_weight_nothing_is_the_base(family, trained):
    base, run_dir = trained(family)
    prompt, how = PROMPTS[TOLD[family]], {"steps": 3}
    model = aquatint.load(base, cpu=True)
    plain = model.generate(prompt, **how)[0]
    alone = aquatint.load(run_dir, cpu=True).generate(prompt, **how)[0]
    assert far(plain, alone) > 2, "the adapter must do something"
    assert far(model.generate(prompt, adapters=[f"{run_dir}:1"], **how)[0], alone) <= 1
    assert far(model.generate(prompt, adapters=[f"{run_dir}:0"], **how)[0], plain) == 0
    assert far(model.generate(prompt, **how)[0], plain) == 0, "nothing is left of it"


def test_half_a_weight_is_half_the_update_and_two_add_up(trained):
    """Against the network with the update written into its weights."""
    base, run_dir = trained("sd", "convolutions", how=["method.convolutions=true", "method.text_encoder=true"])
    weights = {0.5: ["weights=0.5"], 2.0: ["weights=2"]}
    for weight, said in weights.items():
        out = run_dir.parent / f"merged-{weight:g}"
        assert run(["merge", str(run_dir / "pytorch_lora_weights.safetensors"), f"base={base}", *said, f"out={out}"]) == 0
        merged = aquatint.load(out, cpu=True).generate("a cat", steps=3)[0]
        assert far(aquatint.load(base, cpu=True).generate("a cat", steps=3, adapters=[f"{run_dir}:{weight}"])[0], merged) <= 1


def test_on_a_run_adapters_come_on_top(trained):
    base, one = trained("sd")
    _, other = trained("sd", "two", how=["seed=7", "method.rank=2"])
    on_top = aquatint.load(one, cpu=True).generate("a cat", steps=3, adapters=[str(other)])[0]
    both = aquatint.load(base, cpu=True).generate("a cat", steps=3, adapters=[str(one), str(other)])[0]
    assert far(on_top, both) <= 1
    out = one.parent / "sum.safetensors"
    files = [str(each / "pytorch_lora_weights.safetensors") for each in (one, other)]
    assert run(["merge", *files, f"out={out}"]) == 0
    assert far(aquatint.load(base, cpu=True).generate("a cat", steps=3, adapters=[str(out)])[0], both) <= 1


def test_blocks_have_weights_of_their_own(trained):
    base, run_dir = trained("sd", "convolutions", how=["method.convolutions=true", "method.text_encoder=true"])
    model, none = aquatint.load(base, cpu=True), {"down": 0, "mid": 0, "up": 0, "text_encoder": 0}
    plain = model.generate("a cat", steps=3)[0]
    assert far(model.generate("a cat", steps=3, adapters=[{"path": run_dir, "blocks": none}])[0], plain) == 0
    words = model.generate("a cat", steps=3, adapters=[{"path": run_dir, "blocks": {**none, "text_encoder": 1}}])[0]
    assert far(words, plain) > 0
    with pytest.raises(AquatintError, match=r"blocks: dwon fits the name of no layer.*down"):
        model.generate("a cat", adapters=[{"path": run_dir, "blocks": {"dwon": 0.5}}])


def test_a_schedule_of_ones_is_none_and_one_of_zeros_nothing(trained):
    base, run_dir = trained("sd")
    model = aquatint.load(base, cpu=True)
    drawn = {
        name: model.generate("a cat", steps=4, adapters=[{"path": run_dir, "schedule": schedule}])[0]
        for name, schedule in {"all": [[1, 1], [0, 1]], "none": [[1, 0], [0, 0]], "late": [[0.5, 0], [0.4, 1]]}.items()
    }
    plain, whole = model.generate("a cat", steps=4)[0], model.generate("a cat", steps=4, adapters=[str(run_dir)])[0]
    assert far(drawn["all"], whole) <= 1
    assert far(drawn["none"], plain) <= 1
    assert min(far(drawn["late"], plain), far(drawn["late"], whole)) > 1


def test_overlap_is_the_cosine_of_the_updates(trained):
    _, one = trained("sd")
    _, other = trained("sd", "two", how=["seed=7", "method.rank=2"])
    a, b = (read(each / "pytorch_lora_weights.safetensors", name="x") for each in (one, other))
    flat = [torch.cat([loaded.layers[name].delta().flatten().double() for name in sorted(a.layers)]) for loaded in (a, b)]
    assert overlap(a, b) == pytest.approx(float(torch.dot(*flat) / flat[0].norm() / flat[1].norm()), abs=1e-6)
    assert overlap(a, a) == pytest.approx(1)


@pytest.mark.parametrize(
    ("short", "meant"),
    [
        ("runs/style:0.8", {"path": "runs/style", "weight": 0.8}), ("C:/runs/style", {"path": "C:/runs/style"}),
        ("C:/style.safetensors:.5", {"path": "C:/style.safetensors", "weight": 0.5}), ("a:-1", {"path": "a", "weight": -1.0}),
        ("a:0..1/3", {"path": "a", "sweep": (0.0, 0.5, 1.0)}), ("a:0..2", {"path": "a", "sweep": (0.0, 0.5, 1.0, 1.5, 2.0)}),
    ],
)  # fmt: skip
def test_the_short_form(short, meant):
    assert Adapter.model_validate(short) == Adapter.model_validate(meant)


def test_weights_over_the_drawing_are_straight_lines():
    adapter = Adapter.model_validate({"path": "a", "weight": 2.0, "schedule": [[0.8, 0.0], [0.4, 1.0]]})
    assert [adapter.at(level) for level in (1, 0.8, 0.6, 0.5, 0.4, 0)] == pytest.approx([0, 0, 1, 1.5, 2, 2])


def test_mistakes_are_told(trained, tmp_path):
    base, run_dir = trained("sd")
    other_base, _ = trained("flux")
    with pytest.raises(AquatintError, match="is for another model: it updates unet"):
        aquatint.load(other_base, cpu=True).generate("a cat", adapters=[str(run_dir)])
    with pytest.raises(SettingsError, match="is there twice"):
        Drawing.from_tree({"adapters": [str(run_dir), f"{run_dir}:0.5"]})
    with pytest.raises(SettingsError, match="noise levels lie in"):
        Drawing.from_tree({"adapters": [{"path": "a", "schedule": [[2, 1]]}]})
    with pytest.raises(AquatintError, match="there is no such file or folder"):
        aquatint.load(base, cpu=True).generate("a cat", adapters=["nowhere"])
    _, dora = trained("sd", "dora", how=["method.variant=dora"])
    with pytest.raises(AquatintError, match="is DoRA, of which there is no sum"):
        aquatint.load(base, cpu=True).generate("a cat", adapters=[str(dora)])
    _, whole = trained("sd", "full", how=["method=full"])
    with pytest.raises(AquatintError, match="is a whole model"):
        aquatint.load(base, cpu=True).generate("a cat", adapters=[str(whole)])


def test_a_run_stands_for_its_adapter_in_the_commands_for_files(trained, tmp_path):
    _, one = trained("sd")
    _, other = trained("sd", "two", how=["seed=7", "method.rank=2"])
    file = one / "pytorch_lora_weights.safetensors"
    for name, given in (("run", str(one)), ("file", str(file))):
        assert run(["convert", given, "to=diffusers", f"out={tmp_path / name}.safetensors"]) == 0
        assert run(["resize", given, "rank=2", f"out={tmp_path / name}-2.safetensors"]) == 0
        assert run(["merge", given, str(other), f"out={tmp_path / name}-sum.safetensors"]) == 0
    for end in ("", "-2", "-sum"):
        a, b = (read(tmp_path / f"{name}{end}.safetensors", name="x").layers for name in ("run", "file"))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[layer].delta(), b[layer].delta()) for layer in a)
    _, whole = trained("sd", "full", how=["method=full"])
    with pytest.raises(AquatintError, match="is a whole model"):
        run(["resize", str(whole), "rank=2", f"out={tmp_path / 'none.safetensors'}"])


def test_two_learned_words_of_one_name_are_refused(trained):
    base, one = trained("sd", "word", how=["method=pivotal", "trigger=zwx"])
    _, other = trained("sd", "other word", how=["method=pivotal", "trigger=zwx", "seed=3"])
    _, third = trained("sd", "third word", how=["method=textual_inversion", "trigger=vyk"])
    model = aquatint.load(base, cpu=True)
    with pytest.raises(AquatintError, match="has learned the word zwx, which this model or another adapter knows"):
        model.generate("a zwx", adapters=[str(one), str(other)], steps=1)
    with pytest.raises(AquatintError, match="has learned the word zwx"):
        aquatint.load(one, cpu=True).generate("a zwx", adapters=[str(other)], steps=1)
    both = aquatint.load(base, cpu=True).generate("a zwx and a vyk", adapters=[str(one), str(third)], steps=2)[0]
    on_top = aquatint.load(one, cpu=True).generate("a zwx and a vyk", adapters=[str(third / "learned_embeds.safetensors")], steps=2)[0]
    assert far(both, on_top) <= 1
