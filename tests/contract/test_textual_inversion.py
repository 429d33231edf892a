"""A word and nothing else: what is trained, what stays to the bit, the file for one text encoder and for two, and what is refused."""

import json
from types import SimpleNamespace

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.errors import BadSetting
from aquatint.export import embedding
from aquatint.methods._own_words import learned
from aquatint.methods.base import Method
from aquatint.methods.pivotal import Pivotal
from aquatint.methods.textual_inversion import FILE, TextualInversion
from aquatint.registry import families
from aquatint.training.preflight import check
from aquatint.training.settings import Train

SD = families["sd"]


def table(encoder):
    return encoder.get_input_embeddings().weight


def test_every_other_row_is_bit_equal_and_the_word_comes_back_to_the_bit(tiny, make_trainer, stock, tmp_path):
    bundle, method = tiny("sd"), TextualInversion(vectors=3)
    before = {name: tensor.clone() for name, tensor in bundle.text_encoders[0].state_dict().items()}
    trainer = make_trainer(bundle, SD, method=method, folder=tmp_path / "states", num_steps=3, lr=1.0)
    begun = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    list(trainer.run())
    assert list(begun) == ["word_0"]
    assert (trainer.parameters["word_0"] - begun["word_0"]).abs().amin(1).min() > 1e-3
    saved = method.save(bundle, tmp_path / "run", facts={})
    assert saved.name == "learned_embeds.safetensors"
    word, vectors = learned(bundle)
    pipe = stock(method, "sd", saved=saved)
    rows = [pipe.tokenizer.convert_tokens_to_ids(token) for token in ("disc", "disc_1", "disc_2")]
    assert (word, rows) == ("disc", [190, 191, 192])
    assert torch.equal(table(pipe.text_encoder)[rows], vectors["text_encoder"])
    assert torch.equal(load_file(saved)["disc"], vectors["text_encoder"])
    after = pipe.text_encoder.state_dict()
    assert len(before) == len(after) > 20
    assert all(torch.equal(after[name][: len(tensor)], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("method", [TextualInversion(vectors=2), Pivotal(rank=2, vectors=2)])
def test_a_word_of_two_text_encoders(method, tiny, tmp_path):
    """It is one file with the keys that programs know, and the lines for the stock pipeline put it in both places."""
    bundle, fresh, family = tiny("sdxl"), tiny("sdxl"), families["sdxl"]
    trained = method.attach(bundle, family, trigger="zwx")
    words = {name: parameter for name, parameter in trained.items() if name.startswith("word")}
    widths = [table(encoder).shape[1] for encoder in fresh.text_encoders]
    assert {name: tuple(p.shape) for name, p in words.items()} == {"word_0": (2, widths[0]), "word_1": (2, widths[1])}
    assert (len(trained) > 2) == (method.kind == "pivotal")
    assert method.num_trained(shapes(fresh), family) == sum(parameter.numel() for parameter in trained.values())
    groups = method.groups(trained)
    assert sum(len(group["params"]) for group in groups) == len(trained)
    assert groups[-1] == {**groups[-1], "params": [*words.values()], "weight_decay": 0.0}
    with torch.no_grad():
        for parameter in words.values():
            parameter += torch.randn_like(parameter)
    method._write_word(bundle, tmp_path / FILE, facts={})
    assert {name: tuple(t.shape) for name, t in load_file(tmp_path / FILE).items()} == {"clip_l": (2, widths[0]), "clip_g": (2, widths[1])}
    before = [table(encoder).clone() for encoder in fresh.text_encoders]
    exec("\n".join(embedding.loading_lines(tmp_path / FILE)), {"pipe": fresh.pipeline})
    how = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    ours, theirs, untaught = (each.pipeline.encode_prompt("a zwx on a", **how) for each in (bundle, fresh, tiny("sdxl")))
    for place in (0, 2):  # what the network attends to, and what is pooled
        assert torch.equal(ours[place], theirs[place])
        assert (ours[place] - untaught[place]).abs().max() > 1e-3
    for encoder, own, was in zip(fresh.text_encoders, bundle.text_encoders, before, strict=True):
        assert torch.equal(table(encoder)[: len(was)], was)
        assert torch.equal(table(own), was)


def shapes(bundle):
    """Of a pipeline's parts, as a run's headers tell them."""
    parts = {name: part for name, part in bundle.pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {name: {key: tuple(tensor.shape) for key, tensor in part.state_dict().items()} for name, part in parts.items()}


def test_it_begins_as_the_words_that_are_named(tiny):
    """The miniature's words are letters."""
    bundle = tiny("sd")
    rows = table(bundle.text_encoders[0])[bundle.pipeline.tokenizer("x y", add_special_tokens=False).input_ids]
    assert len(rows) == 2
    TextualInversion(vectors=3, initialiser="x y").attach(bundle, SD, trigger="zwx")
    torch.testing.assert_close(learned(bundle)[1]["text_encoder"], rows[[0, 1, 0]])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["trigger=z"], "trigger=z: 'z' is a token of the base already"),
        (["trigger=zwx", "method.vectors=17"], "method.vectors=17: the text encoder sees 32 tokens in all; choose at most 16"),
        (["trigger=zwx", "method.initialiser=peacok"], "method.initialiser: 'peacok' is not one token of the base"),
        (["trigger=zwx", "method.initialiser=fox owl", "method.vectors=1"], "method.initialiser: 2 words for 1 vectors"),
        (["trigger=zwx", "method.initialiser= "], "method.initialiser: there is no word in it"),
    ],
)
def test_what_cannot_be_is_refused_before_a_folder_is_made(given, problem, photos, tmp_path):
    """By the embedded model: the miniature knows no words."""
    out = tmp_path / "run"
    with pytest.raises(BadSetting, match=problem):
        run(["train", f"data={photos}", "method=textual_inversion", f"out={out}", "steps=1", *given])
    assert not (out / "config.yaml").exists()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, r"trigger: method=textual_inversion: .*name it: trigger=zwx"),
        ({"trigger": "zwx", "prior": {"num": 8}}, "prior.num: method=textual_inversion leaves every prompt without the trigger as it was"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(given, problem, photos, tiny_sd, tmp_path):
    with pytest.raises(SettingsError, match=problem):
        check(Train.from_tree({"data": photos, "base": str(tiny_sd), "method": "textual_inversion", "out": tmp_path / "run", **given}))


@pytest.mark.parametrize("kind", ["textual_inversion", "pivotal"])
def test_families_whose_pipelines_load_no_word_are_refused_with_their_reason(kind):
    method, why = Method.resolve(kind), "stock pipelines load none"
    deaf = SimpleNamespace(text_parts=("text_encoder",), no_own_word=why)
    assert method.misfit("text", deaf).startswith(f"{why}; use method=lora")
    assert method.misfit("text", families["ldm"]).startswith("its text encoder learns no words; use")
    assert method.misfit("classes", deaf).startswith("it reads no text")
    assert method.misfit("text", SD) is None
    assert method.misfit("text", families["sdxl"]) is None
    assert "loads no learned word" in method.misfit("text", families["sd3"])
    assert "T5 reads its prompts" in method.misfit("text", families["flux"])


@pytest.mark.parametrize(("name", "loads"), [("sd", True), ("sdxl", True), ("sd3", False)])
def test_the_reasons_are_those_of_stock_diffusers(name, loads):
    (pipeline,) = families[name].PIPELINES
    assert hasattr(getattr(diffusers, pipeline), "load_textual_inversion") == loads == (families[name].no_own_word is None)


def test_a_run_draws_no_prior_tells_its_rate_and_writes_a_file_of_kilobytes(photos, tiny_sd, tmp_path):
    out = tmp_path / "run"
    given = [f"data={photos}", f"base={tiny_sd}", "trigger=zwx", "steps=2", "samples.every=0", "images.resolution=16", f"out={out}"]
    assert run(["train", *given, "method=textual_inversion", "method.initialiser=x"]) == 0
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    said = [event["text"] for event in log if event["event"] == "Noted"]
    assert "lr=0.1: the same for every base" in said
    assert not any("prior" in text for text in said)
    assert next(event["learning_rate"] for event in log if event["event"] == "Stepped") == pytest.approx(0.1)
    assert (out / FILE).stat().st_size < 10_000
    assert not (out / "pytorch_lora_weights.safetensors").exists()
    text = (out / "README.md").read_text()
    assert "load_textual_inversion" in text
    assert "load_lora_weights" not in text
