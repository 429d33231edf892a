"""What a mask leaves out is not learned: masks are found, checked, fitted like their picture, and reach the loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aquatint.core.randomness import SampleRandom
from aquatint.data.cache import TensorCache
from aquatint.data.masks import open_mask
from aquatint.data.plan import BatchPlan
from aquatint.data.records import BadData, Scan, scan
from aquatint.data.settings import Images
from aquatint.families import sd
from aquatint.training.batch import BatchSource, Examples
from aquatint.training.encoding import Encoding


def picture(path: Path, size: tuple[int, int] = (32, 32), *, mode: str = "RGB") -> None:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    Image.fromarray(pixels, mode).save(path)


def left_half(size: tuple[int, int] = (32, 32)) -> Image.Image:
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def read(folder: Path, **images: object) -> Scan:
    return scan(folder, Images(**images), trigger="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.mask.png", "a-masklabel.png", "a.mask.webp"])
def test_a_mask_beside_a_picture_is_no_picture(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.jpg")
    picture(tmp_path / "lone.mask.png")
    left_half().save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    found = read(tmp_path)
    masks = {record.name: record.mask for record in found.records}
    assert [name for name, mask in masks.items() if mask] == ["a.png"]
    assert list(masks) == ["a.png", "b.jpg", "lone.mask.png"]
    assert masks["a.png"]
    assert np.array_equal(np.asarray(open_mask(masks["a.png"])), np.asarray(left_half()))
    assert "1 mask without a picture, taken for pictures: lone.mask.png" in " ".join(map(str, found.findings))
    assert "1 mask beside 3 pictures" in " ".join(map(str, found.findings))
    assert not any(record.mask for record in read(tmp_path, masks="ignore").records)


def test_masks_in_capitals_for_two_pictures_and_twice(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        picture(tmp_path / name)
    left_half().save(tmp_path / "a.MASK.PNG")
    left_half().save(tmp_path / "b.mask.png")
    assert [(record.name, bool(record.mask)) for record in read(tmp_path).records] == [("a.jpg", True), ("a.png", True), ("b.png", True)]
    left_half().save(tmp_path / "b-masklabel.png")
    with pytest.raises(BadData, match=r"b\.png: has 2 masks: b-masklabel\.png, b\.mask\.png"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Image.new("L", (32, 16), 255), "another shape than the picture's 32 x 32"),
        (Image.new("L", (32, 32)), "black everywhere"),
        (b"<html>", "web page"),
        (b"", "is empty"),
    ],
)
def test_a_mask_that_cannot_be_used_is_told(tmp_path: Path, mask: Image.Image | bytes, said: str) -> None:
    picture(tmp_path / "a.png")
    path = tmp_path / "a.mask.png"
    path.write_bytes(mask) if isinstance(mask, bytes) else mask.save(path)
    with pytest.raises(BadData, match=said):
        read(tmp_path)


def test_opacity_as_a_mask(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", mode="RGBA")
    picture(tmp_path / "b.png")
    masks = [open_mask(record.mask) for record in read(tmp_path, masks="opacity").records if record.mask]
    assert np.array_equal(np.asarray(masks[0]), np.asarray(Image.open(tmp_path / "a.png"))[:, :, 3])
    assert masks[1].getextrema() == (255, 255)


def encoded(tmp_path: Path, **images: object) -> tuple[Examples, list[int]]:
    """The examples, and how many were there beforehand."""
    asked: list[int] = []
    how = Images(**images)  # type: ignore[arg-type]
    records = read(tmp_path / "pictures", **images).records
    encoding = Encoding(sd.tiny().freeze(), sd, TensorCache(tmp_path / "cache"), how, progress=lambda done, total: asked.append(done))
    return encoding.examples(records, [(16, 16)] * len(records), keep_prompts=True), asked


def test_a_mask_is_cut_and_turned_with_its_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (tmp_path / "pictures").mkdir()
    picture(tmp_path / "pictures/a.png", (64, 32))
    left_half((64, 32)).save(tmp_path / "pictures/a.mask.png")
    examples, _ = encoded(tmp_path, flip=True, buckets=False)
    plain, mirrored = (view.mask_B1HW for view in examples.views[0])
    assert plain is not None
    assert mirrored is not None
    assert plain.shape == (1, 1, *examples.views[0][0].mean_BCHW.shape[2:])
    width = plain.shape[-1]
    assert plain[..., : width // 2 - 1].min() > 0.99  # the square's own left half: its centre lies on the edge of the mask
    assert plain[..., width // 2 + 1 :].max() < 0.01
    torch.testing.assert_close(mirrored, plain.flip(-1), atol=0.01, rtol=0)


def test_a_mask_reaches_the_loss_and_its_change_the_cache(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name)
    left_half().save(tmp_path / "pictures/a.mask.png")
    torch.manual_seed(0)
    examples, _ = encoded(tmp_path)
    bundle = sd.tiny()
    (batch,) = BatchSource(examples, BatchPlan([0, 0], batch_size=2), 3)(0)
    lesson = batch.lesson(bundle.objective, SampleRandom(3, 0, batch.slots))
    error = torch.zeros_like(lesson.wanted_BCHW)
    right = lesson.wanted_BCHW.shape[-1] // 2 + 1  # the mask was made smaller, so its edge is soft
    error[..., right:] = 5.0
    losses = dict(zip(batch.names, bundle.objective.losses(lambda x_t, t: lesson.wanted_BCHW + error, lesson).tolist(), strict=True))
    assert losses["a.png"] == 0
    assert losses["b.png"] > 1
    torch.manual_seed(0)
    assert encoded(tmp_path)[1][0] == 2
    Image.new("L", (32, 32), 255).save(tmp_path / "pictures/a.mask.png")
    torch.manual_seed(0)
    assert encoded(tmp_path)[1][0] == 1
