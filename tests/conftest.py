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
