"""What all tests share: one thread, no network, nothing of the user's own, a model and pictures in miniature."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACE = Path(tempfile.mkdtemp(prefix="aquatint-tests-"))
os.environ |= {  # before torch or huggingface_hub is imported: both read these once
    "OMP_NUM_THREADS": "1",  # more make miniature models many times slower
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_CACHE": str(PLACE / "hub"),
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "AQUATINT_CACHE": str(PLACE / "cache"),
}
SHAPES = ((24, 24), (32, 32), (16, 16), (32, 16), (16, 24), (40, 20))
COLOURS = ("crimson", "teal", "gold", "navy", "olive", "plum")


def pytest_unconfigure() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory) -> Path:
    """A diffusers folder of the family `sd`: real classes, random weights, 16 pixels wide."""
    import torch

    from aquatint.families import sd

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp("tiny") / "sd"
    sd.tiny().pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Six captioned PNG and JPEG files of several shapes. Shared: copy it before changing it."""
    from PIL import Image, ImageDraw

    folder: Path = tmp_path_factory.mktemp("photos")
    for index, (size, colour) in enumerate(zip(SHAPES, COLOURS, strict=True)):
        picture = Image.new("RGB", size, "white")
        ImageDraw.Draw(picture).ellipse((index, 2, size[0] - 4, size[1] - index - 3), fill=colour, outline="black")
        picture.save(folder / f"{colour}.{'png' if index % 2 else 'jpg'}")
        (folder / f"{colour}.txt").write_text(f"a {colour} disc", encoding="utf-8")
    return folder


@pytest.fixture
def stop_requests() -> Iterator[None]:
    """No request to stop is left over, before or after."""
    from aquatint import stopping

    stopping.clear()
    yield
    stopping.clear()


@pytest.fixture(scope="session")
def make_trainer():
    """(bundle, family, method=, folder=, num_steps=, **how) -> a `Trainer` on six random pictures, the same every time.

    `how`: batch_size, accumulate, weights, optimizer, lr, ema, caption_dropout.
    """
    return _make_trainer


def _make_trainer(bundle, family, *, method, folder, num_steps, **how):
    import torch

    from aquatint.data.plan import BatchPlan
    from aquatint.training.batch import BatchSource
    from aquatint.training.ema import MovingAverage
    from aquatint.training.loss_module import LossModule
    from aquatint.training.optimizers import build
    from aquatint.training.runtime import Runtime
    from aquatint.training.schedules import warmup_cosine
    from aquatint.training.trainer import Trainer

    bundle.freeze()
    examples = _examples(bundle, family, keep_prompts=method.encodes_anew)
    torch.manual_seed(0)
    parameters = method.attach(bundle, family, trigger="disc")
    dropout = how.get("caption_dropout", 0.0) if bundle.knows_empty else 0.0
    plan = BatchPlan([0] * 6, batch_size=how.get("batch_size", 2), accumulate=how.get("accumulate", 1), weights=how.get("weights"))
    return Trainer(
        LossModule(family, bundle, trained=parameters), parameters,
        build(how.get("optimizer", "adamw"), method.groups(parameters), lr=how.get("lr", 1e-3), weight_decay=0.01),
        warmup_cosine(num_steps=num_steps, warmup_steps=2), BatchSource(examples, plan, 0, dropout),
        Runtime(cpu=True), folder, num_steps=num_steps, average=MovingAverage(parameters, how["ema"]) if "ema" in how else None,
    )  # fmt: skip


def _examples(bundle, family, *, keep_prompts):
    import torch

    from aquatint.core.family import Conditioning, Encoded
    from aquatint.training.batch import Examples

    side, known = bundle.resolution_px, bundle.labels or [f"disc {index}" for index in range(6)]
    prompts = [known[index % len(known)] for index in range(6)]
    pixels = torch.rand(6, 3, side, side, generator=torch.Generator().manual_seed(4)) * 2 - 1
    empty = [""] if bundle.knows_empty else []
    with torch.no_grad():
        encoded = family.encode_images(bundle, pixels)
        told = {prompt: Conditioning(family.encode_prompts(bundle, [prompt])) for prompt in [*empty, *prompts]}
    views = [[Encoded(encoded.mean_BCHW[i : i + 1], encoded.std_BCHW[i : i + 1])] for i in range(6)]
    return Examples([f"{index}.png" for index in range(6)], [[prompt] for prompt in prompts], views, {} if keep_prompts else told)
