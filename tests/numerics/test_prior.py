"""Prior preservation: lessons are what the base says, counts are exact, and every split of a step sees the same."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aquatint.core.family import Bundle, Conditioning, Encoded
from aquatint.core.randomness import SampleRandom
from aquatint.core.request import Request
from aquatint.core.weightings import MinSNR
from aquatint.data.cache import TensorCache
from aquatint.families import sd
from aquatint.generation.drawing import draw_latents
from aquatint.methods.lora import LoRA
from aquatint.training import prior as prior_module
from aquatint.training.batch import AnyBatch, Batch, joined, together
from aquatint.training.prior import LESSONS_EACH, Asking, Pictured, Prior, PriorSource, prompts, taught

NUM = 10
OBJECTIVE = sd.tiny().objective
PRIOR = Prior([torch.zeros(1, 1, 2, 2)] * 5, ["p", ""] * 5, [torch.full((1, 1, 2, 2), float(i)) for i in range(NUM)], {}, 3)
WANTED = [Request("a fox", 1, num_steps=2), Request("a red door", 2, num_steps=2)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    return sd.tiny().freeze()


@pytest.fixture(scope="module")
def asked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Prior:
    texts = ["", *(request.prompt for request in WANTED)]
    with torch.no_grad():
        told = {text: Conditioning(sd.encode_prompts(bundle, [text])) for text in texts}
    cache = TensorCache(tmp_path_factory.mktemp("cache"))
    return Asking(bundle, sd, cache, torch.float32).prior(WANTED, told, seed=3)


def seen(step: int, *, batch_size: int, num_micro: int, num_processes: int) -> list[tuple[int, float]]:
    """(slot, output) of every lesson of a step, over all processes, in the order of slots."""
    found = []
    for rank in range(num_processes):
        for batch in PriorSource(PRIOR, OBJECTIVE, batch_size, num_micro, rank, num_processes, weight=0.5)(step):
            found += list(zip(batch.slots, batch.asked.wanted_BCHW[:, 0, 0, 0].tolist(), strict=True))
            assert batch.total_weight == batch_size * num_micro * num_processes
            assert batch.weight_B.tolist() == [0.5] * batch_size
    return sorted(found)


@pytest.mark.parametrize("split", [(8, 1, 1), (2, 4, 1), (1, 4, 2), (4, 1, 2), (2, 2, 2)])
def test_every_split_sees_the_same(split: tuple[int, int, int]) -> None:
    batch_size, num_micro, num_processes = split
    for step in (0, 1, 7):
        expected = seen(step, batch_size=8, num_micro=1, num_processes=1)
        assert seen(step, batch_size=batch_size, num_micro=num_micro, num_processes=num_processes) == expected


def test_every_lesson_comes_equally_often() -> None:
    shown = Counter(value for step in range(NUM) for _, value in seen(step, batch_size=4, num_micro=1, num_processes=1))
    assert shown == dict.fromkeys(map(float, range(NUM)), 4)


def test_lessons_are_what_the_base_says_with_the_prompt_and_without(bundle: Bundle, asked: Prior) -> None:
    """The truth is stock diffusers: its scheduler makes the noisy picture, its network answers."""
    assert len(asked.outputs) == len(WANTED) * LESSONS_EACH
    assert asked.prompts[:4] == ["a fox", "a red door", "", ""]
    assert Counter(asked.prompts) == {"a fox": 8, "a red door": 8, "": 16}
    for lesson in (0, 3, 17):
        x_t, t = asked.noised(bundle.objective, [lesson])
        picture = draw_latents(bundle, [WANTED[lesson % 2]])
        index = (t * 1000).round().long() - 1
        eps = SampleRandom(3, 0, [prior_module.SLOTS_FROM + lesson]).normal("prior noise", picture.shape[1:])
        assert torch.allclose(x_t, bundle.pipeline.scheduler.add_noise(picture, eps, index), atol=1e-5)
        with torch.no_grad():
            words = bundle.pipeline.encode_prompt(asked.prompts[lesson], "cpu", 1, do_classifier_free_guidance=False)[0]
            output = bundle.denoiser(x_t, index, encoder_hidden_states=words).sample
        assert torch.allclose(asked.outputs[lesson], output, atol=1e-5)


@pytest.mark.parametrize("split", [(4, 1, 1), (1, 2, 2)])
def test_pictures_are_lessons_as_the_users_are(split: tuple[int, int, int], bundle: Bundle, asked: Prior) -> None:
    """DreamBooth's: at the noise of the step the noise is wanted (the truth is diffusers' scheduler), and all come equally often."""
    pictures = [Pictured(str(i), request.prompt, asked.latents[i], "") for i, request in enumerate(WANTED)]
    prior = taught(pictures, asked.conditionings, seed=3)
    size, num_micro, num_processes = split
    seen: dict[int, tuple[str, torch.Tensor]] = {}
    for rank in range(num_processes):
        for batch in PriorSource(prior, bundle.objective, size, num_micro, rank, num_processes, weight=0.5)(7):
            random = SampleRandom(5, 7, batch.slots)
            lesson, told = batch.lesson(bundle.objective, random), batch.told(lambda prompts: pytest.fail("encoded beforehand"))
            eps, index = random.normal("noise", (4, 8, 8)), (lesson.t_B * 1000).round().long() - 1
            own = [asked.latents[[request.prompt for request in WANTED].index(prompt)] for prompt in batch.prompts]
            assert torch.equal(lesson.wanted_BCHW, eps)
            assert torch.allclose(lesson.x_t_BCHW, bundle.pipeline.scheduler.add_noise(torch.cat(own), eps, index), atol=1e-5)
            words = [asked.conditionings[prompt]["prompt_embeds"] for prompt in batch.prompts]
            assert torch.equal(told["prompt_embeds"], torch.cat(words))
            assert (batch.num_own, batch.total_weight, batch.weight_B.tolist()) == (0, 4.0, [0.5] * size)
            seen |= {slot: (prompt, x_t) for slot, prompt, x_t in zip(batch.slots, batch.prompts, lesson.x_t_BCHW, strict=True)}
    assert Counter(prompt for prompt, _ in seen.values()) == {"a fox": 2, "a red door": 2}
    whole = PriorSource(prior, bundle.objective, 4, 1, 0, 1, weight=0.5)(7)[0]
    expected = whole.lesson(bundle.objective, SampleRandom(5, 7, whole.slots)).x_t_BCHW
    assert torch.equal(torch.stack([seen[slot][1] for slot in whole.slots]), expected)


def test_an_untouched_network_has_nothing_to_mend_and_a_changed_one_has(bundle: Bundle, asked: Prior) -> None:
    weighted = bundle.objective.weighted_by(MinSNR(5.0))
    network_of = lambda batch: sd.network(bundle, batch.conditioning)  # noqa: E731
    batch = PriorSource(asked, weighted, 8, 1, 0, 1, weight=1.0)(0)[0]
    random = SampleRandom(0, 0, batch.slots)
    assert weighted.losses(network_of(batch), batch.lesson(weighted, random)).max() < 1e-9
    trained = LoRA(rank=2).attach(bundle, sd)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.fill_(0.1)
    assert weighted.losses(network_of(batch), batch.lesson(weighted, random)).min() > 1e-6


def test_together_in_one_pass_is_the_same_as_one_after_the_other(bundle: Bundle, asked: Prior) -> None:
    """Loss as the trainer adds it up; the user's pictures weigh 2 in all, so their sum is not their number."""
    objective, told = bundle.objective, asked.conditionings["a fox"]
    latents, conditioning = torch.randn(2, 4, 8, 8), together({"a fox": told}, ["a fox"] * 2)
    own = Batch([0, 1], torch.tensor([1.5, 0.5]), 2.0, ["a", "b"], Encoded(latents, latents.abs()), ("a fox",) * 2, conditioning)
    lessons = PriorSource(asked, objective, 4, 1, 0, 1, weight=0.7)(5)[0]

    def loss(batch: AnyBatch) -> float:
        network = sd.network(bundle, batch.told(lambda prompts: sd.encode_prompts(bundle, prompts)))
        with torch.no_grad():
            losses = objective.losses(network, batch.lesson(objective, SampleRandom(0, 5, batch.slots)))
        return float((losses * batch.weight_B).sum() / batch.total_weight)

    both = joined(own, lessons)
    assert [len(batch.slots) for batch in both] == [6]
    assert loss(both[0]) == pytest.approx(loss(own) + loss(lessons), rel=1e-5)
    larger = replace(own, encoded=Encoded(torch.zeros(2, 4, 8, 16), torch.zeros(2, 4, 8, 16)))
    assert joined(larger, lessons) == [larger, lessons]


def test_the_base_is_hashed_once(bundle: Bundle, asked: Prior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model of gigabytes each time takes seconds, and there is a key for every lesson."""
    hashed: list[object] = []
    monkeypatch.setattr(prior_module, "identity", lambda bundle: (hashed.append(bundle), "x")[1])
    Asking(bundle, sd, TensorCache(tmp_path), torch.float32).prior(WANTED, asked.conditionings, seed=3)
    assert len(hashed) == 1


def test_answers_are_asked_for_once(bundle: Bundle, asked: Prior, tmp_path: Path) -> None:
    fresh = sd.tiny().freeze()
    fresh.denoiser.load_state_dict({n.replace(".base_layer", ""): p for n, p in bundle.denoiser.state_dict().items() if "lora" not in n})
    fresh.text_encoders[0].load_state_dict(bundle.text_encoders[0].state_dict())
    first = Asking(fresh, sd, TensorCache(tmp_path), torch.float32).prior(WANTED, asked.conditionings, seed=3)
    calls: list[object] = []
    fresh.denoiser.register_forward_hook(lambda *call: calls.append(call))
    again = Asking(fresh, sd, TensorCache(tmp_path), torch.float32).prior(WANTED, asked.conditionings, seed=3)
    assert not calls
    assert all(torch.equal(a, b) for a, b in zip(first.outputs, again.outputs, strict=True))
    other = Asking(fresh, sd, TensorCache(tmp_path), torch.float32).prior(WANTED, asked.conditionings, seed=4)
    assert calls
    assert not torch.equal(first.outputs[0], other.outputs[0])
    assert replace(first, seed=4).noised(fresh.objective, [0])[1] != first.noised(fresh.objective, [0])[1]


def test_prompts_put_common_words_in_the_triggers_place() -> None:
    made = prompts(["a zwx on a beach", "a red door"], trigger="zwx", words=["fox", "owl"], num=6, seed=1)
    assert len(made) == 6
    assert {text.replace("fox", "W").replace("owl", "W") for text in made} == {"a W on a beach", "a photo of a W"}
    assert made == prompts(["a zwx on a beach", "a red door"], trigger="zwx", words=["fox", "owl"], num=6, seed=1)
    assert not any("zwx" in text for text in made)
    assert prompts(["Cat, a catalog of {}"], trigger="cat", words=["owl"], num=1, seed=1) == ["owl, a catalog of {}"]
    assert prompts(["a fox on a beach"], trigger="fox", words=["fox", "owl"], num=9, seed=1) == ["a owl on a beach"] * 9
