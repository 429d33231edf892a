"""Captions longer than the text encoder's window, joined: the truth is the stock encoder on texts cut by hand. R10."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.core.family import Bundle
from aquatint.core.request import Request
from aquatint.data.cache import TensorCache
from aquatint.data.settings import Images
from aquatint.families import sd
from aquatint.families._windows import pieces
from aquatint.generation.drawing import draw_latents
from aquatint.methods.base import Method
from aquatint.training.encoding import Encoding
from aquatint.training.folder import RunFolder

LONG = "red disc, on a sea, by the old mill"
"""27 letters and commas, each a token: three windows of 14, cut after the last comma that fits."""
BY_HAND = ["red disc,", "on a sea,", "by the old mill"]
FILE = "pytorch_lora_weights.safetensors"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a b c", ["a b c"]),
        ("", [""]),
        ("a b c d e f g", ["a b c", "d e f", "g"]),
        ("a b, c d e", ["a b,", "c d e"]),
        ("a, b c d", ["a, b c", "d"]),  # an end too near to the beginning wastes the window
        ("one. two three", ["one.", "two three"]),
        ("a,b,c,d,e,f,g", ["a,b,c,", "d,e,f,", "g"]),
        ("it is 1,000 km", ["it is 1,000", "km"]),
        ("abcdefghijklmnopq rs", ["abcdefghijkl", "mnopq rs"]),
        ("一二三四五六，七八九十，甲乙丙", ["一二三四五六，七八九十，", "甲乙丙"]),
        ("a b my cat x", ["a b my cat", "x"]),
        ("  a  b   c  d ", ["a  b   c", "d"]),
    ],
)
def test_a_prompt_is_cut_where_a_reader_would(prompt: str, expected: list[str]) -> None:
    def fits(text: str) -> bool:
        return len(text) <= 12 and len(re.sub(r",(?!\d)", " ", text.replace("my cat", "it")).split()) <= 3

    found = pieces(prompt, fits=fits, whole=["my cat"])
    assert found == expected
    assert all(fits(piece) for piece in found)
    assert "".join(found).replace(" ", "") == prompt.replace(" ", "")


@pytest.fixture
def long(tiny) -> Bundle:
    bundle: Bundle = tiny("sd")
    bundle.windows = sd.num_windows(bundle, LONG)
    return bundle


def stock(bundle: Bundle, texts: list[str]) -> torch.Tensor:
    """Each by the stock pipeline, one after another along the tokens."""
    with torch.no_grad():
        seen = [bundle.pipeline.encode_prompt(text, "cpu", 1, do_classifier_free_guidance=False)[0] for text in texts]
    return torch.cat(seen, dim=1)


def test_joined_encodings_are_the_stock_encoders_one_after_another(long: Bundle) -> None:
    assert long.windows == 3
    with torch.no_grad():
        told = sd.encode_prompts(long, [LONG, "a disc", ""])["prompt_embeds"]
    assert told.shape == (3, 3 * 16, 32)
    for row, texts in zip(told, (BY_HAND, ["a disc", "", ""], ["", "", ""]), strict=True):
        torch.testing.assert_close(row[None], stock(long, texts))
    assert sd.cut_off(long, LONG) == ""
    long.windows = 2
    assert sd.cut_off(long, LONG) == "by the old mill"
    with torch.no_grad():
        torch.testing.assert_close(sd.encode_prompts(long, [LONG])["prompt_embeds"], stock(long, BY_HAND[:2]))


def test_the_cache_keeps_both_ways_apart(long: Bundle, tmp_path: Path) -> None:
    encoding = Encoding(long, sd, TensorCache(tmp_path), Images())
    joined = encoding.conditionings([LONG])[LONG]["prompt_embeds"]
    long.windows = 1
    cut = encoding.conditionings([LONG])[LONG]["prompt_embeds"]
    assert (joined.shape[1], cut.shape[1]) == (48, 16)
    torch.testing.assert_close(cut, stock(long, [LONG]))


def test_pictures_are_drawn_from_all_windows(long: Bundle) -> None:
    """The stock pipeline, given the encodings that were joined by hand, draws the same."""
    request = Request(LONG, 7, num_steps=2, negative="grey")
    drawn = draw_latents(long, [request])
    expected = long.pipeline(
        prompt_embeds=stock(long, BY_HAND), negative_prompt_embeds=stock(long, ["grey", "", ""]), num_inference_steps=2,
        guidance_scale=request.scale, generator=torch.Generator().manual_seed(7), output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(drawn, expected)
    long.windows = 1
    assert not torch.allclose(draw_latents(long, [request]), drawn)


def test_a_learned_word_is_never_cut_in_two(tiny) -> None:
    bundle = tiny("sd")
    Method.resolve({"kind": "pivotal", "vectors": 3, "rank": 2}).attach(bundle, sd, trigger="my cat")
    bundle.windows = 2
    with torch.no_grad():
        told = sd.encode_prompts(bundle, ["ab bcd efg hijk my cat on"])["prompt_embeds"]
        torch.testing.assert_close(told, stock(bundle, ["ab bcd efg hijk", "my cat on"]))


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Two pictures, one with a caption of four windows."""
    (folder := tmp_path / "data").mkdir()
    for name, caption in (("a", "a disc"), ("b", f"{LONG}, with much more")):
        Image.new("RGB", (16, 16), "teal" if name == "a" else "gold").save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    return folder


@pytest.mark.parametrize("method", ["lora", "pivotal"])
def test_a_run_with_joined_captions(method: str, captioned: Path, base_folder, tmp_path: Path) -> None:
    """With prompts encoded beforehand and at every step, with a prior beside; what is beyond three windows is told."""
    how = [f"data={captioned}", f"base={base_folder('sd')}", "steps=2", "samples.num_steps=1", "trigger=zwx", f"method={method}"]
    how += ["prior.data=" + str(captioned), "method.rank=2", "precision=fp32", "resolution=16", "lr=1e-3"]
    cut, join = tmp_path / "cut", tmp_path / "join"
    assert run(["train", *how, f"out={cut}"]) == 0
    assert run(["train", *how, "images.long_captions=join", f"out={join}"]) == 0
    told = [text for line in (join / "log.jsonl").read_text().splitlines() if (text := json.loads(line).get("text"))]
    assert any("takes 3 windows of the text encoder" in text for text in told)
    assert any("longer than the text encoder's 3 windows; of b.png it does not see: … " in text and "much more" in text for text in told)
    one, other = load_file(cut / FILE), load_file(join / FILE)
    assert len(one) > 10
    assert any(bool((tensor != other[name]).any()) for name, tensor in one.items())
    before = [Image.open(RunFolder(out).samples(0) / "00.png").tobytes() for out in (cut, join)]
    assert before[0] != before[1]  # the first samples are kept between runs, each way for itself
    facts = json.loads((join / "facts.json").read_text())
    assert facts["windows"] == 3
    assert facts["proof"]["largest_difference"] < 1e-3
    assert run(["generate", str(join), "prompt=a disc", "steps=1", f"out={tmp_path / 'drawn'}", "seed=1"]) == 0
    bundle = sd.load(base_folder("sd")).freeze()
    Method.resolve({"kind": method, "rank": 2}).load(bundle, join / facts["file"])
    drawn = bundle.pipeline(
        prompt_embeds=stock(bundle, ["a disc", "", ""]), negative_prompt_embeds=stock(bundle, [""] * 3), num_inference_steps=1,
        guidance_scale=5.0, generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert drawn.tobytes() == Image.open(tmp_path / "drawn" / "1.png").tobytes()
