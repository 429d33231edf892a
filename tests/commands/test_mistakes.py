"""Ten mistakes that newcomers make: each is answered before a model is loaded, by what, where, and what to do."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aquatint.cli import run
from aquatint.errors import AquatintError

Arguments = list[str]


def said(arguments: Arguments) -> str:
    with pytest.raises(AquatintError) as caught:
        run(["train", *arguments])
    assert caught.value.exit_code == 2
    return str(caught.value)


def no_such_folder(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={tmp_path / 'fotos'}", f"base={base}"], ["fotos"]


def empty_folder(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    (tmp_path / "empty").mkdir()
    return [f"data={tmp_path / 'empty'}", f"base={base}"], ["empty", ".png"]


def no_captions(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in photos.iterdir():
        if path.suffix in (".png", ".jpg"):
            shutil.copy(path, bare)
    return [f"data={bare}", f"base={base}"], ["caption", "trigger", "caption_from_name"]


def misspelt_setting(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={photos}", f"base={base}", "batchsize=4"], ["batchsize", "did you mean batch_size"]


def rank_zero(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={photos}", f"base={base}", "method.rank=0"], ["method.rank", "1", "0"]


def text_named_jpg(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    mixed = tmp_path / "mixed"
    shutil.copytree(photos, mixed)
    (mixed / "notes.jpg").write_text("milk, bread, butter")
    (mixed / "notes.txt").write_text("a list")
    return [f"data={mixed}", f"base={base}"], ["notes.jpg", "skip_bad"]


def base_is_no_model(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={photos}", f"base={photos}"], [str(photos), "model_index.json"]


def out_of_another_run(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "config.yaml").write_text("data: elsewhere\n")
    return [f"data={photos}", f"base={base}", f"out={taken}"], [str(taken), "aquatint resume", "another folder"]


def resolution_not_a_multiple(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={photos}", f"base={base}", "resolution=61"], ["images.resolution", "61", "multiple of 8", "64"]


def no_disk_space(photos: Path, base: Path, *, tmp_path: Path) -> tuple[Arguments, list[str]]:
    return [f"data={photos}", f"base={base}", "min_free_gib=1000000"], ["GiB", "free", "out="]


MISTAKES = [
    no_such_folder, empty_folder, no_captions, misspelt_setting, rank_zero, text_named_jpg, base_is_no_model, out_of_another_run,
    resolution_not_a_multiple, no_disk_space,
]  # fmt: skip


ALL_OF_THEM = """
import json, sys
from aquatint.cli import run
from aquatint.errors import AquatintError

num = 0
for line in json.loads(sys.argv[1]):
    try:
        run(["train", *line])
    except AquatintError:
        num += 1
print(num, *{"torch", "diffusers", "transformers", "peft", "accelerate", "datasets"} & set(sys.modules))
"""


def test_there_are_ten() -> None:
    assert len(MISTAKES) == 10


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_answered(mistake: Callable[..., tuple[Arguments, list[str]]], photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    arguments, expected = mistake(photos, tiny_sd, tmp_path=tmp_path)
    out = [] if any(argument.startswith("out=") for argument in arguments) else [f"out={tmp_path / 'run'}"]
    answer = said([*arguments, *out])
    for part in expected:
        assert part in answer
    assert not (tmp_path / "run").exists()


def test_mistakes_are_answered_before_torch_is_there(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """It takes seconds to import."""
    lines = []
    for mistake in MISTAKES:
        place = tmp_path / mistake.__name__
        place.mkdir()
        lines.append([f"out={place / 'run'}", *mistake(photos, tiny_sd, tmp_path=place)[0]])
    ended = subprocess.run([sys.executable, "-c", ALL_OF_THEM, json.dumps(lines)], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["10"]


def test_all_problems_are_told_at_once(photos: Path, tmp_path: Path) -> None:
    answer = said([f"data={tmp_path / 'fotos'}", f"base={photos}", "resolution=61", f"out={tmp_path / 'run'}"])
    for part in ("fotos", "model_index.json", "images.resolution"):
        assert part in answer


def test_the_pictures_folder_is_never_written_to(photos: Path, tiny_sd: Path) -> None:
    for out in (photos, photos / "run", photos.parent):
        assert "never written to" in said([f"data={photos}", f"base={tiny_sd}", f"out={out}"])
    mix = photos.parent / "mix.yaml"
    mix.write_text(f"- {photos.name}\n")
    assert f"lies in {photos}, which is never written to" in said([f"data={mix}", f"base={tiny_sd}", f"out={photos / 'run'}"])


def test_a_folder_with_other_files_is_not_taken(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    assert "not of a run" in said([f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'mine'}"])
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_resume_without_a_folder_is_asked_for_one(photos: Path, tiny_sd: Path) -> None:
    assert "out=" in said([f"data={photos}", f"base={tiny_sd}", "resume=true"])


def test_a_size_that_the_networks_cannot_draw_is_refused(tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(AquatintError, match="multiples of 8"):
        run(["generate", str(tiny_sd), "prompt=x", "size=[17,16]", f"out={tmp_path / 'drawn'}"])
    assert not (tmp_path / "drawn").exists()
