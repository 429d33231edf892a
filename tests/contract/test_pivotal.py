"""A word of one's own: what it changes, what it leaves alone, and what is refused."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.errors import BadSetting, Unproven
from aquatint.evaluation import proof
from aquatint.methods._words import FILE
from aquatint.methods.pivotal import Pivotal
from aquatint.registry import families
from aquatint.training.preflight import check
from aquatint.training.settings import Train

WORD = "word_0"
SD = families["sd"]


def encoded(bundle, prompt):
    with torch.no_grad():
        return SD.encode_prompts(bundle, [prompt])["prompt_embeds"]


@pytest.fixture
def trained(tiny, make_trainer, tmp_path):
    """The miniature after three steps on captions that hold the word `disc`, and its files' folder."""
    bundle, method = tiny("sd"), Pivotal(rank=4)
    list(make_trainer(bundle, SD, method=method, folder=tmp_path / "states", num_steps=3, lr=1e-2).run())
    method.save(bundle, tmp_path / "run", facts={"modelspec.trigger_phrase": "disc"})
    return bundle, tmp_path / "run"


@pytest.mark.parametrize("prompt", ["zwx", "a zwx here", "", "no such word"])
def test_a_word_begins_as_its_own_pieces(prompt, tiny):
    """The miniature's tokens are letters, so three vectors are the word as it was before."""
    bundle = tiny("sd")
    before = encoded(bundle, prompt)
    trained = Pivotal(rank=2, vectors=3).attach(bundle, SD, trigger="zwx")
    assert trained[WORD].shape == (3, 32)
    torch.testing.assert_close(encoded(bundle, prompt), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("vectors", [1, 2, 5])
def test_pieces_are_taken_in_turn(vectors, tiny):
    bundle = tiny("sd")
    table, ids = bundle.text_encoders[0].get_input_embeddings().weight, bundle.pipeline.tokenizer("zw", add_special_tokens=False).input_ids
    assert len(ids) == 2
    Pivotal(rank=2, vectors=vectors).attach(bundle, SD, trigger="zw")
    found = bundle.text_encoders[0].get_input_embeddings().vectors()
    torch.testing.assert_close(found, table[(ids * 3)[:vectors]])


def test_only_prompts_with_the_word_are_encoded_anew(trained, tiny):
    bundle, _ = trained
    for prompt in ("", "a photo", "dis c", "cat"):
        assert torch.equal(encoded(bundle, prompt), encoded(tiny("sd"), prompt)), prompt
    assert (encoded(bundle, "a disc") - encoded(tiny("sd"), "a disc")).abs().max() > 1e-3


def test_the_stock_pipeline_draws_with_the_word(trained, stock):
    """In its first place and in the midst, and several times."""
    bundle, folder = trained
    pipe = stock(Pivotal(rank=4), "sd", saved=folder / "pytorch_lora_weights.safetensors")
    for prompt in ("disc", "a disc", "a disc, disc"):
        tokens = bundle.pipeline.tokenizer.tokenize(bundle.pipeline.maybe_convert_prompt(prompt, bundle.pipeline.tokenizer))
        assert [token for token in tokens if token.startswith("disc")] == ["disc", "disc_1", "disc_2"] * prompt.count("disc")
        ours, theirs = ((p.encode_prompt(prompt, "cpu", 1, False)[0]) for p in (bundle.pipeline, pipe))
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(encoded(bundle, prompt), ours, rtol=1e-5, atol=1e-5)


def test_the_file_of_the_word(trained):
    _, folder = trained
    tensors = load_file(folder / FILE)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"disc": (3, 32)}
    assert (folder / FILE).stat().st_size < 10_000
    with safe_open(folder / FILE, "pt") as file:
        assert file.metadata()["modelspec.trigger_phrase"] == "disc"


def test_a_wrong_word_is_not_proven(trained, tiny, answers):
    bundle, folder = trained
    saved, prompt = folder / "pytorch_lora_weights.safetensors", "a photo of disc"
    known = {"family": SD, "method": Pivotal(rank=4), "base": answers(tiny("sd"), "sd"), "trained": answers(bundle, "sd"), "prompt": prompt}
    assert proof.prove(saved, fresh=tiny("sd"), **known).largest_difference < 1e-5
    save_file({"disc": load_file(folder / FILE)["disc"].flip(0)}, folder / FILE)
    with pytest.raises(Unproven, match="differs from the trained model by"):
        proof.prove(saved, fresh=tiny("sd"), **known)


def test_decay_does_not_reach_the_word(tiny):
    method = Pivotal(rank=2, word_lr=0.5)
    trained = method.attach(tiny("sd"), SD, trigger="zwx")
    adapters, word = method.groups(trained)
    assert len(adapters["params"]) + 1 == len(trained)
    assert word == {"params": [trained[WORD]], "lr": 0.5, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("trigger", "vectors", "problem"),
    [
        ("z", 3, "trigger=z: 'z' is a token of the base already"),
        ("ox", 3, r"trigger=ox: it is a part of words that the base knows \(foxs, fox, mailbox\)"),
        ("zwx", 17, "method.vectors=17: the text encoder sees 32 tokens in all; choose at most 16"),
    ],
)
def test_words_that_cannot_be_are_refused_before_a_folder_is_made(trigger, vectors, problem, photos, tmp_path):
    """By the embedded model: the miniature knows no words."""
    out = tmp_path / "run"
    given = [f"data={photos}", "method=pivotal", f"method.vectors={vectors}", f"trigger={trigger}", f"out={out}", "steps=1"]
    with pytest.raises(BadSetting, match=problem):
        run(["train", *given])
    assert not (out / "config.yaml").exists()


@pytest.mark.parametrize(("trigger", "plain"), [("Zwx", "zwx"), (" zwx", "zwx"), ("my  cat", "my cat"), ("cafe\u0301x", "caf\u00e9x")])
def test_a_trigger_that_tokenizers_would_not_find_is_refused(trigger, plain, photos, tiny_sd, tmp_path):
    config = Train.from_tree({"data": photos, "base": str(tiny_sd), "method": "pivotal", "trigger": trigger, "out": tmp_path / "run"})
    with pytest.raises(SettingsError, match=f"write '{plain}'"):
        check(config)


def test_captions_and_prompts_get_the_words_own_spelling(photos, tiny_sd, tmp_path):
    """Tokenizers ignore case, but stock pipelines look for a word of several tokens as it stands."""
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(photos, data)
    for caption in data.glob("*.txt"):
        caption.write_text("A ZWX, Zwx, zwxs")
    given = [f"base={tiny_sd}", "method=pivotal", "trigger=zwx", "steps=2", "samples.every=0", "images.resolution=16", f"out={out}"]
    run(["train", str(data), *given])
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert any(event["event"] == "Finished" for event in log)
    assert any(event.get("is_warning") and "zwx is a part of other words in the captions" in event["text"] for event in log)
    vectors = load_file(out / FILE)["zwx"]
    table = SD.load(tiny_sd).text_encoders[0].get_input_embeddings().weight
    begun = table[SD.load(tiny_sd).pipeline.tokenizer("zwx", add_special_tokens=False).input_ids]
    assert ((vectors - begun).abs().amax(1) > 1e-3).all()  # every one is trained
    for prompt in ("a zwx", "A ZWX"):
        run(["generate", str(out), f"prompt={prompt}", f"out={tmp_path / prompt}", "cpu=true", "steps=2"])
    one, two = (Image.open(tmp_path / prompt / "42.png") for prompt in ("a zwx", "A ZWX"))
    assert one.tobytes() == two.tobytes()


def test_without_a_trigger_nothing_is_loaded(photos, tiny_sd, tmp_path):
    config = Train.read([f"data={photos}", f"base={tiny_sd}", "method=pivotal", f"out={tmp_path / 'run'}"])
    with pytest.raises(SettingsError, match=r"trigger: method=pivotal: .*name it: trigger=zwx"):
        check(config)


def test_a_run_tells_of_both_files(photos, tiny_sd, tmp_path):
    out = tmp_path / "run"
    given = [f"data={photos}", f"base={tiny_sd}", "method=pivotal", "trigger=zwx", "steps=2", "samples.every=0", f"out={out}"]
    assert run(["train", *given, "images.resolution=16"]) in (0, None)
    text = (out / "README.md").read_text()
    assert "learned_embeds.safetensors" in text
    assert "load_textual_inversion" in text
