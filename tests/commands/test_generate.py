"""`aquatint generate`: what a user types, and the pictures that lie there afterwards."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from aquatint.cli import run
from aquatint.commands.generate import Generate
from aquatint.config import SettingsError
from aquatint.errors import AquatintError
from aquatint.generation.metadata import read_settings


@pytest.fixture
def generate(tiny_sd, tmp_path, monkeypatch, capsys):
    """Runs in an empty folder with the miniature; returns what was printed, line by line."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, steps: int = 3) -> list[str]:
        assert run(["generate", str(tiny_sd), f"steps={steps}", "cpu=true", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return call


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"), dtype=int)


def photo(path, size=(24, 16)):
    picture = Image.new("RGB", size, "teal")
    ImageDraw.Draw(picture).rectangle((2, 2, 9, 9), fill="gold")
    picture.save(path)
    return path


def test_a_seed_is_a_picture_alone_or_among_others(generate, tmp_path):
    generate("prompt=a cat", "num=3", "out=three")
    generate("prompt=a cat", "seed=44", "out=one")
    assert sorted(path.name for path in (tmp_path / "three").iterdir()) == ["42.png", "43.png", "44.png"]
    assert np.abs(pixels(tmp_path / "three/44.png") - pixels(tmp_path / "one/44.png")).max() <= 1


def test_nothing_is_written_over(generate, tmp_path):
    for _ in range(2):
        generate("prompt=a cat")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["42-2.png", "42.png"]


def test_braces_are_rows_and_columns(generate, tmp_path):
    lines = generate("prompt=a {cat|dog} {on a mat|in a box|}")
    assert [line.split("  ")[-1] for line in lines[:-1]] == [
        "a cat on a mat", "a cat in a box", "a cat", "a dog on a mat", "a dog in a box", "a dog",
    ]  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [*(f"{number:03}-42.png" for number in range(1, 7)), "sheet.png"]
    width, height = Image.open(tmp_path / "pictures/sheet.png").size
    assert width > 3 * 128
    assert height > 2 * 128


def test_prompts_come_from_a_file(generate, tmp_path):
    (tmp_path / "prompts.txt").write_text("# two\na cat\n\na {red|blue} dog\n", encoding="utf-8")
    lines = generate("prompts=prompts.txt", "sheet=false")
    assert [line.split("  ")[-1] for line in lines] == ["a cat", "a red dog", "a blue dog"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n"])
def test_a_file_without_prompts_is_refused(generate, tmp_path, content):
    (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(AquatintError, match="there is no prompt in it"):
        generate("prompts=prompts.txt")


@pytest.mark.parametrize(
    "extra", [(), ("negative=a dog", "scale=3", "size=32,16"), ("scheduler=euler", "guide=color:teal"), ("image=in.png",)]
)
def test_a_picture_draws_itself_again(generate, tmp_path, extra):
    photo(tmp_path / "in.png")
    generate("prompt=a {cat|fox}", "num=2", "out=first", *extra)
    generate("from=first/002-43.png", "out=second")
    assert np.abs(pixels(tmp_path / "first/002-43.png") - pixels(tmp_path / "second/43.png")).max() <= 1
    assert read_settings(tmp_path / "second/43.png") == read_settings(tmp_path / "first/002-43.png")


def test_what_is_said_beside_goes_above_the_picture(generate, tmp_path):
    generate("prompt=a cat", "out=first")
    generate("from=first/42.png", "seed=7", "out=second")
    said = read_settings(tmp_path / "second/7.png")
    assert (said["prompt"], said["seed"], said["steps"]) == ("a cat", 7, 3)


def test_a_picture_of_another_program_says_nothing(generate, tmp_path):
    photo(tmp_path / "in.png")
    with pytest.raises(AquatintError, match="does not say how it was drawn"):
        generate("from=in.png")
    (tmp_path / "in.txt").write_text("no picture")
    with pytest.raises(AquatintError, match="no PNG"):
        generate("from=in.txt")


def test_a_picture_changes_by_its_strength(generate, tmp_path):
    photo(tmp_path / "in.png", size=(48, 16))
    distances = []
    for strength in ("0.34", "1"):
        generate("prompt=a cat", "image=in.png", f"strength={strength}", f"out={strength}", steps=6)
        drawn = pixels(tmp_path / strength / "42.png")
        assert drawn.shape[0] % 8 == drawn.shape[1] % 8 == 0
        assert drawn.shape[1] > drawn.shape[0], "in the shape of the picture"
        distances.append(drawn)
    assert np.abs(distances[0] - distances[1]).mean() > 3, "the strength does something"


def test_black_of_a_mask_stays_to_the_bit_and_white_does_not(generate, tmp_path):
    photo(tmp_path / "in.png", size=(16, 16))
    mask = Image.new("L", (16, 16), 0)
    ImageDraw.Draw(mask).rectangle((8, 0, 15, 15), fill=255)
    mask.save(tmp_path / "mask.png")
    generate("prompt=a cat", "image=in.png", "mask=mask.png", "out=drawn")
    drawn, given = pixels(tmp_path / "drawn/42.png"), pixels(tmp_path / "in.png")
    assert (drawn[:, :8] == given[:, :8]).all()
    assert np.abs(drawn[:, 8:] - given[:, 8:]).mean() > 3


def test_previews_on_the_way(generate, tmp_path):
    lines = generate("prompt=a cat", "preview=2", steps=6)
    assert [line.split("  ")[-1] for line in lines] == ["step 2 of 6", "step 4 of 6", "seed 42"]
    assert (tmp_path / "pictures/preview.png").is_file()


def test_guidance_and_sampler_are_written_into_the_picture(generate, tmp_path):
    generate("prompt=a cat", "guide=[color:teal*0.4, 'color:navy+gold']", "scheduler=dpm++_karras")
    with Image.open(tmp_path / "pictures/42.png") as picture:
        settings = json.loads(picture.text["aquatint.settings"])
        assert picture.text["scheduler"] == "dpm++_karras"
    assert [(each["kind"], each["target"], each["scale"]) for each in settings["guide"]] == [
        ("color", "teal", 0.4), ("color", "navy+gold", Generate.read(["guide=color:red"]).guide[0].scale),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mask=m.png"], "mask has no effect without image"),
        (["strength=0.5"], "strength has no effect without image"),
        (["guide=colour:teal"], "did you mean 'color'"),
        (["guide=color:tael"], "'tael' is no colour"),
        (["guide={kind: color, target: teal, start: 0.2, stop: 0.5}"], "must be below start"),
        (["image=in.png", "strength=0"], "strength"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, told):
    with pytest.raises(SettingsError, match=told):
        Generate.read(arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["image=nowhere.png"], "image=nowhere.png: there is no such file"),
        (["scheduler=eulr"], "did you mean 'euler'"),
        (["size=17,16"], "multiples of"),
        (["prompt=" + "{a|b|c|d|e|f|g|h|i|j}" * 5], "more than 10,000 prompts"),
        (["guide=classifier_free", "scale=1"], "says nothing without a prompt"),
        (["image=in.png", "mask=other.png"], "they must agree"),
    ],
)
def test_what_cannot_be_drawn_is_told_before_a_folder_is_made(generate, tmp_path, arguments, told):
    photo(tmp_path / "in.png")
    photo(tmp_path / "other.png", size=(9, 7))
    with pytest.raises(AquatintError, match=told):
        generate(*arguments)
    assert not (tmp_path / "pictures").exists()


def test_a_picture_does_not_say_which_code_is_run(generate, tmp_path, monkeypatch):
    (tmp_path / "losses_of_a_test.py").write_text("def dark(pixels):\n    return pixels.square().flatten(1).mean(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    generate("prompt=a cat", "guide=python:losses_of_a_test.dark", "out=first")
    with pytest.raises(AquatintError, match="none is run because a picture says so"):
        generate("from=first/42.png")
    generate("from=first/42.png", "guide=python:losses_of_a_test.dark", "out=second")
    assert np.abs(pixels(tmp_path / "first/42.png") - pixels(tmp_path / "second/42.png")).max() <= 1
