"""Several views of a picture: each is encoded once, as it would be alone, and all are shown equally often. R16, R18."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aquatint.core.randomness import key
from aquatint.data.cache import TensorCache
from aquatint.data.pictures import BadPicture
from aquatint.data.plan import BatchPlan
from aquatint.data.records import ImageRecord, scan
from aquatint.data.settings import Images
from aquatint.data.transforms import View, load_pixels
from aquatint.families import sd
from aquatint.training.batch import BatchSource, Examples
from aquatint.training.encoding import Encoding

SIZE = (16, 16)


@pytest.fixture
def records(tmp_path: Path) -> tuple[ImageRecord, ...]:
    """A square picture, which is never cropped, and a long one."""
    for name, width in (("a.png", 16), ("b.png", 48)):
        Image.fromarray(np.random.default_rng(width).integers(0, 256, (16, width, 3), np.uint8)).save(tmp_path / name)
    return scan(tmp_path, Images(), trigger="x").records


Asked = list[tuple[int, int]]


def encoded(bundle, cache: TensorCache, *, records: tuple[ImageRecord, ...], **how) -> tuple[Examples, Asked]:
    asked: Asked = []
    encoding = Encoding(bundle, sd, cache, Images(**how), progress=lambda done, total: asked.append((done, total)))
    return encoding.examples(records, [SIZE] * len(records), keep_prompts=True), asked


def test_crops_and_mirrors_are_encoded_once_as_they_would_be_alone(tmp_path: Path, records: tuple[ImageRecord, ...]) -> None:
    bundle, cache = sd.tiny().freeze(), TensorCache(tmp_path / "cache")
    how = {"crop": "random", "crops": 3, "flip": True}
    examples, asked = encoded(bundle, cache, records=records, **how)
    assert [len(views) for views in examples.views] == [2, 6]
    assert asked[-1] == (8, 8)
    view = View(SIZE, crop="random", number=2, seed=key(0, records[1].content_hash), is_flipped=True)
    with torch.no_grad():
        alone = sd.encode_images(bundle, load_pixels(records[1].place, view)[0][None])
    torch.testing.assert_close(examples.views[1][5].mean_BCHW, alone.mean_BCHW, atol=1e-5, rtol=1e-4)
    assert len({tuple(view.mean_BCHW.flatten().tolist()) for view in examples.views[1]}) == 6
    again, asked = encoded(bundle, TensorCache(tmp_path / "cache"), records=records, **how)
    assert asked == [(8, 8)]
    assert torch.equal(again.views[1][5].mean_BCHW, examples.views[1][5].mean_BCHW)
    _, asked = encoded(bundle, cache, records=records, **{**how, "crops": 4})
    assert asked[0] == (8, 10)  # two more of the long picture; the square one has none


def test_the_same_weights_with_other_units_are_another_encoder(tmp_path: Path, records: tuple[ImageRecord, ...]) -> None:
    bundle, cache = sd.tiny().freeze(), TensorCache(tmp_path / "cache")
    before, _ = encoded(bundle, cache, records=records)
    bundle.autoencoder.register_to_config(scaling_factor=2 * bundle.autoencoder.config.scaling_factor)
    after, _ = encoded(bundle, cache, records=records)
    torch.testing.assert_close(after.views[0][0].mean_BCHW, 2 * before.views[0][0].mean_BCHW)


def test_a_picture_that_changed_after_the_look_is_not_encoded(tmp_path: Path, records: tuple[ImageRecord, ...]) -> None:
    """Else it would be found under the hash of the picture that it was."""
    bundle, cache, own = sd.tiny().freeze(), TensorCache(tmp_path / "cache"), (tmp_path / "a.png").read_bytes()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    with pytest.raises(BadPicture, match="is another than the one that was looked at"):
        encoded(bundle, cache, records=records[:1])
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadPicture, match="cannot be read any more"):
        encoded(bundle, cache, records=records[:1])
    (tmp_path / "a.png").write_bytes(own)
    examples, _ = encoded(bundle, cache, records=records[:1])
    fresh, _ = encoded(bundle, TensorCache(tmp_path / "other"), records=records[:1])
    assert torch.equal(examples.views[0][0].mean_BCHW, fresh.views[0][0].mean_BCHW)


def test_every_view_is_shown_equally_often(tmp_path: Path, records: tuple[ImageRecord, ...]) -> None:
    """Chi-square over six views in 600 draws; 20.5 is passed by chance once in a thousand."""
    bundle = sd.tiny().freeze()
    examples, _ = encoded(bundle, TensorCache(tmp_path / "cache"), records=records[1:], crop="random", crops=3, flip=True)
    names = {tuple(view.mean_BCHW.flatten().tolist()): number for number, view in enumerate(examples.views[0])}
    source = BatchSource(examples, BatchPlan([0], batch_size=1), 3)
    shown = Counter(names[tuple(batch.encoded.mean_BCHW.flatten().tolist())] for step in range(600) for batch in source(step))
    assert len(shown) == len(names) == 6
    assert sum((count - 100) ** 2 / 100 for count in shown.values()) < 20.5
