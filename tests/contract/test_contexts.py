"""What stands beside a learned word keeps its say: what is held, by whom it is told, and that a run can be resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aquatint.commands import resume, train
from aquatint.core.randomness import SampleRandom
from aquatint.methods.textual_inversion import FILE, TextualInversion
from aquatint.registry import families
from aquatint.training.contexts import EACH_STEP, Contexts, contexts_of
from aquatint.training.events import Stepped
from aquatint.training.loss_module import LossModule
from aquatint.training.prior import words_of
from aquatint.training.settings import Train

SD = families["sd"]
CAPTIONS = ["a zwx on a green background", "a zwx in the snow", "a zwx on a wooden table"]


def asked(bundle: Any, captions: list[str] = CAPTIONS, **method: Any) -> Contexts | None:
    config = Train.from_tree({"data": "photos", "trigger": "zwx", "method": {"kind": "textual_inversion", **method}})
    return contexts_of(bundle, SD, config=config, captions=captions, words=words_of(SD, bundle))


def pocket() -> Any:
    return SD.load("pocket").freeze()


def measured(step: int = 0, **method: Any) -> float:
    """The loss of a word that has learned nothing yet."""
    bundle = pocket()
    contexts = asked(bundle, context=1.0, **method)
    assert contexts
    TextualInversion(**method).attach(bundle, SD, trigger="zwx")
    with torch.no_grad():
        return float(contexts.loss(lambda prompts: SD.encode_prompts(bundle, prompts), step))


def test_a_word_of_many_vectors_drowns_what_one_leaves() -> None:
    one, eight = measured(vectors=1, initialiser="fox"), measured(vectors=8, initialiser="fox")
    assert one < 0.6 * eight
    assert measured(vectors=1, initialiser="fox", step=1) != one


def test_prompts_vary_the_captions_and_end_where_they_are_said_to() -> None:
    bundle = pocket()
    contexts = asked(bundle, vectors=5)
    assert contexts
    assert len(set(contexts.prompts)) == len(contexts.prompts) == len(contexts.ends) == len(contexts.wanted_NKD) > 100
    assert all("zwx" in prompt for prompt in contexts.prompts)
    assert {prompt.split()[:2] == ["a", "zwx"] for prompt in contexts.prompts} == {True}
    TextualInversion(vectors=5).attach(bundle, SD, trigger="zwx")
    tokenizer = bundle.pipeline.tokenizer
    for prompt, end in zip(contexts.prompts, contexts.ends, strict=True):
        ids = tokenizer(bundle.pipeline.maybe_convert_prompt(prompt, tokenizer), padding="max_length", max_length=32).input_ids
        assert ids.index(tokenizer.eos_token_id) == end
        assert end + contexts.wanted_NKD.shape[1] <= 32


def test_captions_without_known_words_get_some() -> None:
    contexts = asked(pocket(), captions=["zwx"])
    assert contexts
    assert all(len(prompt.split()) == 3 for prompt in contexts.prompts)


def test_nothing_is_held_where_it_is_not_wanted_or_the_base_has_no_words(tiny: Any) -> None:
    assert asked(pocket(), context=0) is None
    assert asked(tiny("sd")) is None


def test_it_counts_once_beside_the_pictures_and_reaches_the_word(make_trainer: Any, tmp_path: Path) -> None:
    bundle = pocket()
    contexts = Contexts(["disc on a beach", "disc in the snow"], [6, 6], torch.zeros(2, 3, 192), 1.0, 0)
    assert len(contexts.prompts) < EACH_STEP
    contexts.wanted_NKD[0] = 1.0
    method = TextualInversion(vectors=2)
    trainer = make_trainer(bundle, SD, method=method, folder=tmp_path, num_steps=1)
    (batch, *_) = trainer.batches(0)
    random = SampleRandom(0, 0, batch.slots)
    without = trainer.loss_module(batch, random)
    beside = LossModule(SD, bundle, trained=trainer.parameters, contexts=contexts)(batch, random)
    more = beside - without
    added = more.detach()
    assert torch.allclose(added, added[:1].expand_as(added), atol=1e-5)
    assert float(added[0]) > 1e-3
    more.mean().backward()
    assert float(trainer.parameters["word_0"].grad.abs().sum()) > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_bit_equal(accumulate: int, photos: Path, tmp_path: Path) -> None:
    quick = ["samples.every=0", "validation.every=0", "cpu=true", "steps=4", "batch_size=1", f"accumulate={accumulate}"]

    def run(place: str, *, stop_at: int) -> Tensor:
        out = tmp_path / place
        given = [f"data={photos}", "trigger=zwx", "method=textual_inversion", "checkpoints.every=1", f"out={out}", *quick]
        for event in train.run(Train.read(given)):
            if isinstance(event, Stepped) and event.step == stop_at:
                break
        if stop_at:
            list(resume.run(resume.Resume.read([str(out)])))
        return load_file(out / FILE)["zwx"]

    assert torch.equal(run("resumed", stop_at=2), run("straight", stop_at=0))
