"""What `inspect` shows is what training gets, and its exit code says how clean the folder is. R8, R14, R17."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.commands.inspect import Inspect, Unclean, run
from aquatint.config import SettingsError
from aquatint.data.contact import MARGIN_PX, contact_sheet
from aquatint.data.records import BadData, Finding
from aquatint.data.settings import Images
from aquatint.data.transforms import View, load_pixels
from aquatint.errors import AquatintError
from aquatint.sinks import console


def put(root: Path, name: str, *, size: tuple[int, int], caption: str | None = "a thing") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def output(config: Inspect, capsys: pytest.CaptureFixture[str]) -> str:
    console(run(config))
    return capsys.readouterr().out


def collect(lines: Iterator[object], into: list[object]) -> None:
    for line in lines:
        into.append(line)


def test_a_clean_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a.png", size=(64, 64), caption="a [red] thing")
    put(tmp_path, "b.png", size=(96, 64))
    text = output(Inspect(data=tmp_path, resolution=64), capsys)
    for part in ("a.png", "64 x 64", "a [red] thing", "b.png", "96 x 64", "bucket 64 x 64: 1", "bucket 80 x 48: 1"):
        assert part in text
    assert "warning" not in text


def test_the_sheet_shows_the_very_tensors(tmp_path: Path) -> None:
    paths = [put(tmp_path / "data", name, size=size) for name, size in (("a.png", (100, 70)), ("b.jpg", (40, 90)))]
    sheet = tmp_path / "out" / "sheet.png"
    list(run(Inspect(data=tmp_path / "data", resolution=64, out=sheet)))
    drawn = np.asarray(Image.open(sheet))
    for path, size, left in ((paths[0], (72, 56), MARGIN_PX), (paths[1], (40, 96), MARGIN_PX * 2 + 96)):
        pixels, _ = load_pixels(path, View(size))
        seen = drawn[MARGIN_PX : MARGIN_PX + size[1], left : left + size[0]].transpose(2, 0, 1) / 127.5 - 1.0
        np.testing.assert_allclose(seen, pixels.numpy(), atol=1e-6)


def test_large_pictures_are_shown_smaller_and_long_captions_cut() -> None:
    import torch

    sheet = contact_sheet([torch.zeros(3, 400, 800)] * 3, ["word " * 400, "", "x" * 900], cell_px=100, columns=2)
    assert sheet.width == MARGIN_PX + 2 * (100 + MARGIN_PX)
    assert sheet.height < 400
    assert sheet.getpixel((MARGIN_PX + 5, MARGIN_PX + 5)) == (128, 128, 128)


def test_enlarged_and_cropped_pictures_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "small.png", size=(20, 20))
    put(tmp_path, "long.png", size=(400, 40))
    text = output(Inspect(data=tmp_path, resolution=64), capsys)
    assert "small.png: is enlarged 3.20 times" in text
    assert "long.png: loses" in text
    assert "can be trained on, but see the warnings" in text
    with pytest.raises(Unclean) as caught:
        list(run(Inspect(data=tmp_path, resolution=64, strict=True)))
    assert caught.value.exit_code == 1


def test_errors_come_after_everything_was_shown(tmp_path: Path) -> None:
    put(tmp_path, "good.png", size=(64, 64))
    (tmp_path / "bad.png").write_bytes(b"<html>")
    shown: list[object] = []
    with pytest.raises(Unclean, match="1 error") as caught:
        collect(run(Inspect(data=tmp_path, resolution=64)), shown)
    assert caught.value.exit_code == 2
    assert any("bad.png: is a web page" in str(line) for line in shown)
    assert any("bucket 64 x 64: 1" in str(line) for line in shown)


def test_no_captions_is_a_warning_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a.png", size=(64, 64), caption=None)
    assert "not one caption" in output(Inspect(data=tmp_path, resolution=64), capsys)
    assert "a zwx" in output(Inspect(data=tmp_path, resolution=64, trigger="zwx"), capsys)


def test_the_sheet_never_goes_into_the_data(tmp_path: Path) -> None:
    put(tmp_path, "a.png", size=(64, 64))
    with pytest.raises(AquatintError, match="nothing is ever written"):
        list(run(Inspect(data=tmp_path, out=tmp_path / "sheet.png")))
    with pytest.raises(AquatintError, match="PNG"):
        list(run(Inspect(data=tmp_path, out=tmp_path.parent / "sheets")))
    with pytest.raises(BadData, match="no such folder"):
        list(run(Inspect(data=tmp_path / "no")))


@pytest.mark.parametrize(
    ("arguments", "resolution"),
    [
        (["images.resolution=64", "pictures"], 64),
        (["--images.resolution", "64", "pictures"], 64),
        (["images.resolution=64,96", "pictures"], (64, 96)),
        (["images.resolution=[96, 64]", "pictures"], (96, 64)),
        (["--images.resolution=64,96", "pictures"], (64, 96)),
    ],
)
def test_one_resolution_or_several(arguments: list[str], resolution: int | tuple[int, ...], tmp_path: Path) -> None:
    config = Inspect.read(arguments)
    assert (config.images.resolution, config.data) == (resolution, Path("pictures"))
    assert config.images.resolutions == ((64,) if resolution == 64 else (64, 96))
    config.write(tmp_path / "config.yaml")
    assert Inspect.read(file=tmp_path / "config.yaml") == config


@pytest.mark.parametrize("wrong", ["4", "[]", "[64,4]", "wide"])
def test_a_wrong_resolution_is_one_problem(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Inspect.read(["pictures", f"images.resolution={wrong}"])
    (problem,) = caught.value.problems
    assert problem.path == "images.resolution"


def test_several_resolutions_are_shown_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "large.png", size=(100, 100))
    put(tmp_path, "small.png", size=(60, 60))
    text = output(Inspect(data=tmp_path, images=Images(resolution=(64, 96))), capsys)
    assert "bucket 64 x 64: 2" in text
    assert "bucket 96 x 96: 1" in text
    assert "is enlarged" not in text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\x1b[31mred\r\n.png", "a\\x1b[31mred\\r\\n.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("bell\x07 \x9b", "bell\\x07 \\x9b"),
        ("half\ud800", "half\\ud800"),
        ("[red]x[/red] Größe 猫 👩\u200d👧.png", "[red]x[/red] Größe 猫 👩\u200d👧.png"),
    ],
)
def test_a_finding_is_one_line_that_can_be_seen(written: str, shown: str) -> None:
    assert str(Finding("warning", written, f"says {written}", written)) == f"{shown}: says {shown} -> {shown}"
    (line,) = str(BadData(Path("x"), [Finding("error", written, "is bad")])).splitlines()[1:]
    assert line == f"  {shown}: is bad"


def test_names_and_captions_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "a\x1b[31m[bold]b\r.png", size=(20, 20), caption="x\x1b]0;title\x07 [red]y[/nope]")
    text = output(Inspect(data=tmp_path, resolution=64), capsys)
    assert not {"\x1b", "\x07", "\r"} & {*text}
    assert "a\\x1b[31m[bold]b\\r.png: is enlarged 3.20 times" in text
    assert "x\\x1b]0;title\\x07 [red]y[/nope]" in text


def test_a_repeated_picture_has_one_row_and_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "small.png", size=(20, 20))
    (tmp_path / "list.csv").write_text("path,text,repeats\nsmall.png,a {b|c},3\n")
    text = output(Inspect(data=tmp_path / "list.csv", resolution=64), capsys)
    assert text.count("is enlarged 3.20 times") == 1
    assert text.count("20 x 20") == 1
    assert "bucket 64 x 64: 3" in text
    assert "(1 of 2 ways)" in text


def test_nothing_is_written_into_the_folders_of_a_mix_or_of_archives(tmp_path: Path) -> None:
    put(tmp_path / "photos", "a.png", size=(64, 64))
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "x.tar", "w") as tar:
        tar.add(tmp_path / "photos" / "a.png", "a.png")
    (tmp_path / "mix.yaml").write_text("- photos\n- shards\n")
    for data, out in (("mix.yaml", "photos/deep/page.html"), ("mix.yaml", "shards/page.html"), ("shards", "shards/page.html")):
        with pytest.raises(AquatintError, match="nothing is ever written"):
            list(run(Inspect(data=tmp_path / data, out=tmp_path / out)))
    list(run(Inspect(data=tmp_path / "mix.yaml", resolution=64, out=tmp_path / "page.html")))
    assert {path.name for path in tmp_path.rglob("*.*")} >= {"page.html"}
    assert not (tmp_path / "photos" / "deep").exists()


def test_nothing_is_written_beside_the_pictures_of_a_list(tmp_path: Path) -> None:
    path = put(tmp_path / "photos", "a.png", size=(64, 64))
    before = path.read_bytes()
    (tmp_path / "list.csv").write_text("path\nphotos/a.png\n")
    for name in ("a.png", "page.html"):
        with pytest.raises(AquatintError, match="nothing is ever written"):
            list(run(Inspect(data=tmp_path / "list.csv", out=tmp_path / "photos" / name)))
    assert path.read_bytes() == before
    assert len(list((tmp_path / "photos").iterdir())) == 2


def test_a_large_set_is_not_listed_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(203):
        Image.new("RGB", (16, 16), (index, 255 - index, 40)).save(tmp_path / f"{index:03d}.png")
    said = output(Inspect(data=tmp_path, resolution=16, trigger="zwx"), capsys)
    assert "│ 199.png" in said
    assert "│ 200.png" not in said
    assert "and 3 more\nbucket 16 x 16: 203" in said
