"""Whatever an encoding depends on makes a new one, and nothing else does. R18, R19."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from aquatint.commands import cache
from aquatint.data.kept import default_root
from aquatint.data.shards import keys_of

Change = Callable[[Path, Path], list[str]]
"""(pictures, base) -> further settings."""
NUM_PICTURES, NUM_LONG, NUM_TEXTS = 6, 3, 7


def setting(*settings: str) -> Change:
    return lambda pictures, base: list(settings)


def content(pictures: Path, base: Path) -> list[str]:
    Image.open(pictures / "teal.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "teal.png")
    return []


def caption(pictures: Path, base: Path) -> list[str]:
    (pictures / "teal.txt").write_text("another disc")
    return []


def mask(pictures: Path, base: Path) -> list[str]:
    Image.new("L", Image.open(pictures / "teal.png").size, 90).save(pictures / "teal.mask.png")
    return []


def rename(pictures: Path, base: Path) -> list[str]:
    for suffix in (".png", ".txt"):
        (pictures / f"teal{suffix}").rename(pictures / f"x{suffix}")
    return []


def touch(pictures: Path, base: Path) -> list[str]:
    (pictures / "teal.png").touch()
    return []


def weights(part: str) -> Change:
    def change(pictures: Path, base: Path) -> list[str]:
        (file,) = (base / part).glob("*.safetensors")
        tensors = load_file(file)
        name = next(name for name, tensor in sorted(tensors.items()) if tensor.is_floating_point())
        save_file({**tensors, name: tensors[name] + 0.25}, file, metadata={"format": "pt"})
        return []

    return change


CHANGES: dict[str, tuple[Change, int]] = {
    "a picture": (content, 1), "a caption": (caption, 1), "a mask": (mask, 1),
    "the resolution": (setting("images.resolution=32"), NUM_PICTURES),
    "the matte": (setting("images.matte=black"), NUM_PICTURES),
    "mirrored too": (setting("images.flip=true"), NUM_PICTURES),
    "the crop": (setting("images.buckets=false", "images.crop=focus"), NUM_LONG),
    "the trigger": (setting("trigger=zwx"), NUM_PICTURES), "the template": (setting("images.template=oil, {caption}"), NUM_PICTURES),
    "the autoencoder": (weights("vae"), NUM_PICTURES), "the text encoder": (weights("text_encoder"), NUM_TEXTS),
    "the network": (weights("unet"), 0), "a name": (rename, 0), "a time": (touch, 0),
    "the learning rate": (setting("lr=1e-5"), 0), "the steps": (setting("steps=7"), 0), "the batch": (setting("batch_size=3"), 0),
    "the seed": (setting("seed=7"), 0), "the method": (setting("method.rank=3"), 0), "the loss": (setting("loss.min_snr_gamma=null"), 0),
    "the dropout": (setting("loss.caption_dropout=0.5"), 0), "the repeats": (setting("images.repeats=3"), 0),
}  # fmt: skip
"""What is changed -> how many entries are new."""


def kept() -> set[str]:
    return {key for shard in default_root().glob("*.safetensors") for key in keys_of(shard)}


def prepare(pictures: Path, base: Path, *, out: Path, more: list[str]) -> set[str]:
    shape = [] if any("resolution" in one for one in more) else ["images.resolution=16"]
    list(cache.run(cache.Cache.read([f"data={pictures}", f"base={base}", f"out={out}", "prior.num=0", "cpu=true", *shape, *more])))
    return kept()


@pytest.mark.parametrize("what", CHANGES)
def test_an_entry_is_new_when_what_it_depends_on_is(
    what: str, photos: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "cache"))
    pictures, base = shutil.copytree(photos, tmp_path / "pictures"), shutil.copytree(tiny_sd, tmp_path / "base")
    before = prepare(pictures, base, out=tmp_path / "run", more=[])
    assert len(before) == NUM_PICTURES + NUM_TEXTS
    assert prepare(pictures, base, out=tmp_path / "run", more=[]) == before
    change, num_new = CHANGES[what]
    torch.manual_seed(0)
    assert len(prepare(pictures, base, out=tmp_path / "run", more=change(pictures, base)) - before) == num_new
