"""New classes in models that were told nothing or a class: the base as it was, the rows as they were, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cases import resolved
from diffusers import UNet2DModel
from PIL import Image

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.errors import BadSetting
from aquatint.methods._class_table import add_classes
from aquatint.methods.base import Method
from aquatint.registry import families

DDPM = families["ddpm"]
SHOWN = ("0", "1", "2", "a disc", "a ring", "a bar")
"""What `make_trainer` tells of the six pictures, for a base with three classes."""


def said(bundle, prompts):
    """The network's answers to one noisy picture, told these."""
    x_t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)).expand(len(prompts), -1, -1, -1)
    with torch.no_grad():
        bundle.denoiser.eval()
        return DDPM.network(bundle, DDPM.encode_prompts(bundle, prompts))(x_t, torch.full((len(prompts),), 0.4))


def rows(bundle):
    return bundle.denoiser.class_embedding.weight.detach().clone()


def class_numbers(bundle, prompts):
    return DDPM.encode_prompts(bundle, prompts)["class_labels"].tolist()


def test_a_model_that_is_told_nothing_begins_as_it_was(tiny):
    bundle = tiny("ddpm")
    before = said(bundle, [""] * 4)
    resolved("class_conditional").attach(bundle, DDPM)
    assert (bundle.told, bundle.labels, bundle.null_class) == ("classes", ("a disc", "a ring", "a bar"), 3)
    assert class_numbers(bundle, ["a ring", "", "A  Disc"]) == [1, 3, 0]
    assert torch.equal(said(bundle, ["a disc", "a ring", "a bar", ""]), before)


def test_a_model_with_classes_keeps_their_numbers_and_answers(tiny):
    bundle = tiny("ddpm-classes")
    before, old = said(bundle, ["0", "1", "2"]), rows(bundle)
    resolved("class_conditional").attach(bundle, DDPM)
    assert bundle.labels == SHOWN
    assert bundle.null_class is None
    assert torch.equal(rows(bundle)[:3], old)
    assert torch.equal(rows(bundle)[3:], old.mean(0).expand(3, -1))
    assert torch.equal(said(bundle, ["0", "1", "2"]), before)


def test_no_class_stays_the_last_number(tiny):
    bundle = tiny("ddpm")
    add_classes(bundle, ["a", "b"])
    with torch.no_grad():
        bundle.denoiser.class_embedding.weight.copy_(torch.arange(3.0)[:, None].expand(3, 64))
    before = said(bundle, ["a", "b", ""])
    add_classes(bundle, ["c"])
    assert rows(bundle)[:, 0].tolist() == [0, 1, 1, 2]
    assert class_numbers(bundle, ["a", "b", "c", ""]) == [0, 1, 2, 3]
    assert torch.equal(said(bundle, ["a", "b", ""]), before)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "sgd"])
def test_rows_that_are_not_shown_stay_bit_equal(optimizer, tiny, make_trainer, tmp_path):
    bundle = tiny("ddpm-classes")
    method = resolved("class_conditional", classes=("a disc", "a ring", "a bar", "never shown"))
    trainer = make_trainer(bundle, DDPM, method=method, folder=tmp_path, num_steps=4, batch_size=1, optimizer=optimizer, ema=0.9)
    before, shown = rows(bundle), set()
    for step in range(4):
        shown.update(class_numbers(bundle, [prompt for batch in trainer.batches(step) for prompt in batch.prompts]))
    list(trainer.run())
    moved = {number for number, (row, old) in enumerate(zip(rows(bundle), before, strict=True)) if not torch.equal(row, old)}
    assert moved == shown
    assert 0 < len(moved) < 6
    with trainer.averaged():
        assert all(torch.equal(rows(bundle)[number], before[number]) for number in set(range(7)) - shown)


def test_with_the_vectors_alone_old_classes_are_drawn_as_before(tiny, make_trainer, tmp_path):
    bundle = tiny("ddpm-classes")
    method = resolved("class_conditional", denoiser=False)
    before = said(bundle, ["0", "1", "2"])
    trainer = make_trainer(bundle, DDPM, method=method, folder=tmp_path, num_steps=3)
    kept = rows(bundle)
    list(trainer.run())
    assert list(trainer.parameters) == ["denoiser.class_embedding.weight"]
    with torch.no_grad():
        bundle.denoiser.class_embedding.weight[:3] = kept[:3]  # the old ones were shown too
    assert torch.equal(said(bundle, ["0", "1", "2"]), before)
    assert not torch.equal(rows(bundle)[3:], kept[3:])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_caption_dropout_teaches_no_class(dropout, tiny, make_trainer, tmp_path):
    bundle = tiny("ddpm")
    trainer = make_trainer(
        bundle, DDPM, method=resolved("class_conditional"), folder=tmp_path, num_steps=3, batch_size=4, caption_dropout=dropout
    )
    list(trainer.run())
    assert bool(rows(bundle)[3].any()) is bool(dropout)


def test_the_folder_is_one_of_stock_diffusers(tiny, make_trainer, tmp_path):
    bundle, method = tiny("ddpm"), resolved("class_conditional")
    list(make_trainer(bundle, DDPM, method=method, folder=tmp_path / "states", num_steps=2).run())
    saved = method.save(bundle, tmp_path / "run", facts={})
    unet = UNet2DModel.from_pretrained(saved / "unet").eval()
    assert unet.config.num_class_embeds == 4
    assert json.loads((saved / "labels.json").read_text()) == ["a disc", "a ring", "a bar"]
    x_t, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([700, 20])
    with torch.no_grad():
        theirs = unet(x_t, t, class_labels=torch.tensor([2, 3])).sample
        ours = bundle.denoiser.eval()(x_t, t, class_labels=torch.tensor([2, 3])).sample
        other = unet(x_t, t, class_labels=torch.tensor([0, 3])).sample
    assert torch.equal(theirs, ours)
    assert not torch.equal(theirs[0], other[0])
    assert torch.equal(theirs[1], other[1])
    again = DDPM.load(saved)
    assert (again.told, again.labels, again.null_class) == ("classes", ("a disc", "a ring", "a bar"), 3)


# ------------------------------------------------------------------------------------------ which classes, by the captions

FOUND = [
    ([["cat"], ["dog"], ["cat"], ["dog"]], (), ("cat", "dog")),
    ([["b 10"], ["a"], [" A "], ["b 10"]], (), ("a", "b 10")),
    ([["cat"], ["cat"], [""]], (), ("cat",)),  # beside pictures of no class
    ([["owl"], ["owl"]], ("tench, Tinca tinca", "goldfish"), ("owl",)),
    ([["owl"], ["owl"], ["tench"], ["1"]], ("tench, Tinca tinca", "goldfish"), ("owl",)),  # by a part of the name, and by number
    ([["owl"]], ("tench",), ("owl",)),
]
REFUSED = [
    ([["cat"], ["cat"]], (), "all pictures are of one class .cat.*method=full"),
    ([["tench"], ["0"]], ("tench",), "no picture is of a class that the base does not know.*method=full"),
    ([[""], [""]], (), "no picture is of a class"),
    ([[f"a photo of cat {i}"] for i in range(40)], (), "40 pictures have 40 different captions .a photo of cat 0, .* …"),
    ([["a", "b", "c"], ["a", "b", "c"]], (), "2 pictures have 3 different captions"),
]


@pytest.mark.parametrize(("prompts", "labels", "found"), FOUND)
def test_captions_name_the_classes(prompts, labels, found):
    assert Method.resolve("class_conditional").settled(prompts, labels).classes == found


@pytest.mark.parametrize(("prompts", "labels", "reason"), REFUSED)
def test_captions_that_name_none_are_refused(prompts, labels, reason):
    with pytest.raises(BadSetting, match=reason):
        Method.resolve("class_conditional").settled(prompts, labels)


def test_given_classes_keep_their_order_and_miss_none():
    method = Method.resolve({"kind": "class_conditional", "classes": ["dog", "cat"]})
    assert method.settled([["cat"], ["dog"], ["cat"], ["dog"]], ()).classes == ("dog", "cat")
    with pytest.raises(BadSetting, match="does not: owl; add them"):
        method.settled([["cat"], ["owl"], ["cat"], ["owl"]], ())


@pytest.mark.parametrize("classes", [["cat", "Cat "], ["cat", " "]])
def test_names_that_cannot_be_told_apart_are_refused(classes):
    with pytest.raises(ValueError, match="differ from each other"):
        Method.resolve({"kind": "class_conditional", "classes": classes})


def test_a_class_that_the_base_knows_is_not_taught_again(tiny):
    with pytest.raises(BadSetting, match="the base knows 1 already"):
        resolved("class_conditional", classes=("1", "x")).attach(tiny("ddpm-classes"), DDPM)
    with pytest.raises(BadSetting, match="no class is named"):
        Method.resolve("class_conditional").attach(tiny("ddpm"), DDPM)


# ------------------------------------------------------------------------------------------ whole runs

QUICK = ("steps=2", "batch_size=2", "samples.num_steps=2", "validation.every=0", "precision=fp32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures in folders that are named after what they show."""
    root: Path = tmp_path_factory.mktemp("classes")
    for kind, colour in (("plum", "purple"), ("lemon", "yellow")):
        (root / kind).mkdir()
        for number in range(3):
            Image.new("RGB", (20, 20 + number), colour).save(root / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def first(folders, base_folder, tmp_path_factory):
    """A run that taught two classes to a base that is told nothing."""
    out: Path = tmp_path_factory.mktemp("runs") / "first"
    data = ["train", str(folders), f"base={base_folder('ddpm')}", "method=class_conditional"]
    assert run([*data, f"out={out}", *QUICK, "loss.caption_dropout=0.1"]) == 0
    return out


def test_folders_name_the_classes(first):
    assert json.loads((first / "model" / "labels.json").read_text()) == ["lemon", "plum"]
    assert "  classes:\n  - lemon\n  - plum\n" in (first / "config.yaml").read_text()
    assert "proven" in (first / "log.jsonl").read_text()


def test_the_readme_draws_a_class_by_stock_diffusers(first, tmp_path, monkeypatch):
    code = (first / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "aquatint" not in code.replace(str(first), "")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("set_timesteps(30)", "set_timesteps(2)"), {})
    with Image.open(tmp_path / "result.png") as drawn:
        assert drawn.size == (16, 16)


def test_a_run_is_asked_for_its_classes(first):
    assert run(["generate", str(first), "prompt=lemon", "steps=2", "seed=5"]) == 0
    assert (first / "pictures" / "5.png").is_file()
    with pytest.raises(BadSetting, match="did you mean 'plum'"):
        run(["generate", str(first), "prompt=plumb", "steps=2"])


@pytest.mark.parametrize("base", ["nothing", "classes"])
def test_samples_are_of_classes_that_there_will_be(base, first, folders, base_folder, tmp_path):
    place = base_folder("ddpm") if base == "nothing" else base_folder("ddpm-classes")
    with pytest.raises(BadSetting, match="there is no class 'pear'"):
        run(["train", str(folders), f"base={place}", "method=class_conditional", f"out={tmp_path / 'run'}", "samples.prompts=[lemon,pear]"])
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_its_result_learns_another_class_and_goes_on(first, folders, tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copytree(folders / "plum", tmp_path / "data" / "damson")
    shutil.copytree(folders / "lemon", tmp_path / "data" / "lemon")
    out = tmp_path / "run"
    taught = ["train", str(tmp_path / "data"), f"base={first / 'model'}", "method=class_conditional", f"out={out}", *QUICK]
    assert run([*taught, "checkpoints.every=1", f"prior.data={folders / 'lemon'}", "images.allow_missing_captions=true"]) == 0
    whole = (out / "model" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert json.loads((out / "model" / "labels.json").read_text()) == ["lemon", "plum", "damson"]
    shutil.rmtree(out / "checkpoints" / "step_0000002")
    shutil.rmtree(out / "model")
    (out / "facts.json").unlink()
    assert run(["resume", str(out)]) == 0
    assert (out / "model" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("data", "base", "reason"),
    [
        ("", "first", "no picture is of a class that the base does not know"),
        ("", "pocket", "class_conditional does not fit pocket: it is told texts"),
        ("plum", "ddpm", "put the pictures into folders that are named after what they show"),
    ],
)
def test_what_teaches_no_class_is_refused_at_once(data, base, reason, first, folders, base_folder, tmp_path):
    place = {"first": first / "model", "ddpm": base_folder("ddpm")}.get(base, base)
    with pytest.raises(SettingsError, match=reason):
        run(["train", str(folders / data), f"base={place}", "method=class_conditional", f"out={tmp_path / 'run'}"])
