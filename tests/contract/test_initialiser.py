"""Words found by what the base draws: pictures that it drew are explained by the word that it drew them by."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.core.family import Encoded
from aquatint.core.randomness import SampleRandom
from aquatint.core.request import Request
from aquatint.data.cache import TensorCache
from aquatint.errors import BadSetting
from aquatint.generation.drawing import draw, draw_latents
from aquatint.registry import families
from aquatint.training import initialiser
from aquatint.training.batch import Examples
from aquatint.training.initialiser import GOLDEN, SLOTS_FROM, Search
from aquatint.training.objectives import apply
from aquatint.training.settings import Loss

SD = families["sd"]
DRAWN = [Request("an owl on a beach", 3, num_steps=12), Request("an owl in the snow", 4, num_steps=12)]
WORDS = ["rocket", "owl", "pig", "cactus", "guitar", "lemon", "bus", "skull"]


@pytest.fixture(scope="module")
def pocket() -> Any:
    return SD.load("pocket").freeze()


def search(bundle: Any, latents: torch.Tensor, *, cache: Path, captions: list[str], vectors: int, loss: Loss | None = None) -> Search:
    views = [[Encoded(each[None], torch.zeros_like(each[None]))] for each in latents]
    examples = Examples([str(i) for i in range(len(views))], [[caption] for caption in captions], views, {})
    return Search(bundle, SD, TensorCache(cache), torch.float32, examples, "zwx", vectors, 5, loss or Loss())


def test_losses_are_those_of_stock_diffusers(tiny: Any, tmp_path: Path) -> None:
    bundle, latents = tiny("sd"), torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    looking = search(bundle, latents, cache=tmp_path, captions=["a zwx", "zwx here"], vectors=3)
    found = looking.losses([("a", "b"), ("c",)], num=3)
    for phrase, words in (("a b a", ("a", "b")), ("c c c", ("c",))):
        expected = 0.0
        for lesson, caption in enumerate([f"a {phrase}", f"{phrase} here", f"a {phrase}"]):
            index = torch.tensor([int((0.5 + lesson * GOLDEN) % 1 * 1000)])
            eps = SampleRandom(5, 0, [SLOTS_FROM + lesson]).normal("initialiser noise", (4, 8, 8))
            x_t = bundle.pipeline.scheduler.add_noise(latents[[lesson % 2]], eps, index)
            with torch.no_grad():
                told = bundle.pipeline.encode_prompt(caption, "cpu", 1, do_classifier_free_guidance=False)[0]
                expected += float((bundle.denoiser(x_t, index, encoder_hidden_states=told).sample - eps).square().mean()) / 3
        assert found[words] == pytest.approx(expected, rel=1e-4)
    huber = Loss(kind="huber", delta=0.5, weighting="even")
    other = search(apply(replace(bundle), huber), latents, cache=tmp_path, captions=["a zwx", "zwx here"], vectors=3, loss=huber)
    assert other.losses([("c",)], num=3)[("c",)] < 0.9 * found[("c",)]  # not what was kept of the square


def test_what_the_base_drew_is_explained_by_the_word_that_it_drew(pocket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialiser, "NUM_LESSONS", (2, 6))
    looking = search(pocket, draw_latents(pocket, DRAWN), cache=tmp_path, captions=["a zwx on a beach", "a zwx in the snow"], vectors=1)
    assert looking.best(WORDS) == ("owl",)
    calls: list[object] = []
    hook = pocket.denoiser.register_forward_hook(lambda *call: calls.append(call))
    assert looking.best(WORDS) == ("owl",)  # found in the cache
    hook.remove()
    assert not calls


def test_a_run_tells_and_keeps_what_was_found(pocket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialiser, "NUM_LESSONS", (1,))
    monkeypatch.setattr(initialiser, "MOST_CANDIDATES", 6)
    (data := tmp_path / "data").mkdir()
    for index, picture in enumerate(draw(pocket, DRAWN)):
        picture.save(data / f"{index}.png")
    quick = ["steps=1", "samples.every=0", "samples.num_steps=1", "validation.every=0", "precision=fp32", "trigger=zwx"]
    given = [str(data), "method=textual_inversion", "method.initialiser=auto", "method.vectors=2", *quick]
    assert run(["train", *given, f"out={tmp_path / 'run'}"]) == 0
    found = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["method"]["initialiser"]
    assert 1 <= len(found.split()) <= 2
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any(f"zwx begins as {found!r}" in event.get("text", "") for event in log)
    rows = pocket.text_encoders[0].get_input_embeddings().weight[pocket.pipeline.tokenizer(found, add_special_tokens=False).input_ids]
    learned = load_file(tmp_path / "run" / "learned_embeds.safetensors")["zwx"]
    assert float((learned - rows[[0, -1]]).abs().max() / rows.std()) < 1.0  # one step from there


def test_a_base_without_words_is_refused(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    given = [f"data={photos}", f"base={tiny_sd}", "trigger=zwx", "method=textual_inversion", "method.initialiser=auto"]
    with pytest.raises(BadSetting, match=r"method.initialiser=auto: this base's tokenizer has no words to try; leave it out"):
        run(["train", *given, "images.resolution=16", f"out={tmp_path / 'run'}"])
    assert not (tmp_path / "run" / "config.yaml").exists()
