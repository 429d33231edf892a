"""The user's own pictures as a prior: lessons are what the base says about exactly these, asked once for each state of them. R56."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aquatint.core.family import Bundle
from aquatint.core.randomness import SampleRandom
from aquatint.data.cache import TensorCache
from aquatint.data.records import ImageRecord, scan
from aquatint.data.settings import Images
from aquatint.families import sd
from aquatint.methods.base import Method
from aquatint.training.encoding import Encoding
from aquatint.training.prior import LESSONS_EACH, SLOTS_FROM, Asking, Prior, PriorSource, drawn_by_seed, pictured
from aquatint.training.settings import Train

SIDE = 16
WIDTHS = {"cat.png": 16, "dog.png": 32, "owl.png": 16}
Ask = Callable[..., Prior]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    return sd.tiny().freeze()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A square picture, a wide one, and one without a caption; braces and a trigger's like are text here."""
    (place := tmp_path / "class").mkdir()
    for name, width in WIDTHS.items():
        Image.fromarray(np.random.default_rng(len(name) + width).integers(0, 256, (SIDE, width, 3), np.uint8)).save(place / name)
    (place / "cat.txt").write_text("a {cat}, asleep", encoding="utf-8")
    (place / "dog.txt").write_text("a dog", encoding="utf-8")
    return place


def settings(folder: Path) -> Train:
    images = Images(flip=True, crop="random", template="zwx, {caption}", caption_shuffle=True)
    return Train.from_tree({"data": folder, "trigger": "zwx", "images": images.model_dump()})


@pytest.fixture
def ask(bundle: Bundle, folder: Path, tmp_path: Path) -> Ask:
    """(seed=3) -> the prior on the folder as it is now."""

    def asked(*, seed: int = 3, cache: Path = tmp_path / "cache") -> Prior:
        images = settings(folder).prior_images
        encoding = Encoding(bundle, sd, TensorCache(cache), images)
        pictures = pictured(scan(folder, images).records, encoding, side_px=SIDE)
        told = encoding.conditionings(sorted({"", *(picture.prompt for picture in pictures)}))
        return Asking(bundle, sd, TensorCache(cache), torch.float32).prior_on(pictures, told, seed=seed)

    return asked


@pytest.fixture
def calls(bundle: Bundle) -> list[int]:
    """How many pictures the network was asked about, call by call."""
    found: list[int] = []
    handle = bundle.denoiser.register_forward_pre_hook(lambda module, given: found.append(len(given[0])))
    yield found  # type: ignore[misc]
    handle.remove()


def latents_of(bundle: Bundle, path: Path) -> torch.Tensor:
    """By Pillow and stock diffusers alone: the middle square, the mean of its encoding."""
    picture = Image.open(path).convert("RGB")
    left = (picture.width - SIDE) // 2
    pixels = torch.from_numpy(np.array(picture.crop((left, 0, left + SIDE, SIDE)))).permute(2, 0, 1)[None] / 127.5 - 1
    vae = bundle.pipeline.vae
    with torch.no_grad():
        return vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor


def test_lessons_are_what_the_base_says_about_these_pictures(bundle: Bundle, ask: Ask, folder: Path) -> None:
    """The truth is stock diffusers: its autoencoder, its scheduler, its network."""
    prior, captions = ask(), ["a {cat}, asleep", "a dog", ""]
    assert list(prior.names) == list(WIDTHS)
    assert len(prior.outputs) == len(WIDTHS) * LESSONS_EACH == 48
    assert Counter(prior.prompts) == {"a {cat}, asleep": 8, "a dog": 8, "": 32}
    for lesson in (0, 1, 2, 4, 46):
        picture = latents_of(bundle, folder / prior.names[lesson % 3])
        x_t, t = prior.noised(bundle.objective, [lesson])
        index = (t * 1000).round().long() - 1
        eps = SampleRandom(3, 0, [SLOTS_FROM + lesson]).normal("prior noise", picture.shape[1:])
        assert torch.allclose(x_t, bundle.pipeline.scheduler.add_noise(picture, eps, index), atol=1e-5)
        prompt = captions[lesson % 3] if lesson // 3 % 2 == 0 else ""
        with torch.no_grad():
            words = bundle.pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)[0]
            output = bundle.denoiser(x_t, index, encoder_hidden_states=words).sample
        assert torch.allclose(prior.outputs[lesson], output, atol=1e-5)


def test_every_picture_comes_equally_often_by_its_name(bundle: Bundle, ask: Ask) -> None:
    source = PriorSource(ask(), bundle.objective, 4, 1, 0, 1, weight=0.5)
    batches = [batch for step in range(12) for batch in source(step)]
    assert Counter(name for batch in batches for name in batch.names) == {f"prior/{name}": 16 for name in WIDTHS}
    assert {batch.size for batch in batches} == {(4, 8, 8)}
    assert sum(batch.num_own for batch in batches) == 0


def test_the_base_is_asked_once_for_each_state(ask: Ask, folder: Path, calls: list[int]) -> None:
    first = ask()
    assert sum(calls) == 48
    calls.clear()
    again = ask()
    assert not calls
    assert all(torch.equal(a, b) for a, b in zip(first.outputs, again.outputs, strict=True))
    (folder / "dog.txt").write_text("a hound", encoding="utf-8")
    ask()
    assert sum(calls) == LESSONS_EACH  # about that picture
    calls.clear()
    Image.new("RGB", (SIDE, SIDE), "teal").save(folder / "owl.png")
    changed = ask()
    assert sum(calls) == LESSONS_EACH
    assert not torch.equal(changed.outputs[2], first.outputs[2])
    calls.clear()
    ask(seed=4)
    assert sum(calls) == 48
    calls.clear()
    (folder / "cat.png").unlink()
    (folder / "cat.txt").unlink()
    ask()
    assert sum(calls) == 32  # their number is another


def test_pictures_are_drawn_by_the_seed_and_not_by_their_names(folder: Path) -> None:
    for number in range(20):
        Image.new("RGB", (SIDE, SIDE), (number * 12, 90, 30)).save(folder / f"{number}.png")
    records = scan(folder, settings(folder).prior_images).records
    assert len(records) == 23
    assert drawn_by_seed(records, None, seed=1) == records
    chosen = drawn_by_seed(records, 9, seed=1)
    assert len(chosen) == 9
    assert list(chosen) == [record for record in records if record in chosen]
    assert chosen != drawn_by_seed(records, 9, seed=2)

    def contents(some: tuple[ImageRecord, ...]) -> set[str]:
        return {record.content_hash for record in some}

    for record in records:
        (folder / record.name).rename(folder / f"{record.content_hash}.png")
    assert contents(drawn_by_seed(scan(folder, settings(folder).prior_images).records, 9, seed=1)) == contents(chosen)


@pytest.mark.parametrize("weight", [0.7, 3.0])
def test_both_losses_are_told_and_add_up(weight: float, bundle: Bundle, ask: Ask, make_trainer, tmp_path: Path) -> None:
    """Joint in one pass and one after the other; of an untouched network the prior's is nothing, of a changed one its mean by weight."""
    from aquatint.training.batch import joined

    prior = ask()
    for is_joint in (True, False):
        torch.manual_seed(0)
        fresh = sd.tiny()  # not the one that was asked: it answers otherwise
        trainer = make_trainer(fresh, sd, method=Method.resolve({"kind": "lora", "rank": 2}), folder=tmp_path, num_steps=1)
        own, source = trainer.batches, PriorSource(prior, fresh.objective, 2, 1, 0, 1, weight=weight)
        mine, lessons = own(0)[0], source(0)[0]
        with torch.no_grad():
            network = sd.network(fresh, lessons.conditioning)
            truth = [float((network(lessons.asked.x_t_BCHW, lessons.asked.t_B) - lessons.asked.wanted_BCHW).square().mean()) * weight]
            network, lesson = sd.network(fresh, mine.conditioning), mine.lesson(fresh.objective, SampleRandom(0, 0, mine.slots))
            truth.insert(0, float((network(lesson.x_t_BCHW, lesson.t_B) - lesson.wanted_BCHW).square().mean()))
        trainer.batches = lambda step, m=mine, n=lessons, j=is_joint: joined(m, n) if j else [n, m]
        event = next(event for event in trainer.run() if type(event).__name__ == "Stepped")
        assert [event.own_loss, event.prior_loss] == pytest.approx(truth, rel=1e-5, abs=1e-9)
        assert event.loss == pytest.approx(sum(truth), rel=1e-5)
