"""A folder read whole: order, junk, bad files all at once, and nothing ever written. R7, R9, R14, R15."""

import hashlib
import os
import struct
from pathlib import Path

import pytest
from PIL import Image

from aquatint.data.places import File
from aquatint.data.records import BadData, scan, survey
from aquatint.data.settings import Images


def picture(path: Path, size: tuple[int, int] = (20, 12), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(path, **options)
    return path


def tree_hash(root: Path) -> str:
    lines = []
    for folder, _, files in os.walk(root):
        for name in [".", *files]:
            path = Path(folder) / name
            status = path.stat()
            content = path.read_bytes() if path.is_file() else b""
            lines.append(f"{path.relative_to(root)} {status.st_mtime_ns} {status.st_mode} {hashlib.sha256(content).hexdigest()}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def test_records_in_natural_order_with_hash_and_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    picture(tmp_path / "10.png")
    picture(tmp_path / "2.jpg", exif=exif)
    picture(tmp_path / "b" / "1.webp")
    picture(tmp_path / "a1.PNG", format="PNG")
    records = scan(tmp_path, Images(), trigger="zwx").records
    assert [record.name for record in records] == ["2.jpg", "10.png", "a1.PNG", "b/1.webp"]
    assert (records[0].width_px, records[0].height_px) == (12, 20)
    assert (records[1].width_px, records[1].height_px) == (20, 12)
    assert records[1].content_hash == hashlib.sha256((tmp_path / "10.png").read_bytes()).hexdigest()
    assert records[1].place == File(tmp_path / "10.png")
    assert {record.weight for record in records} == {1.0}


def test_junk_is_not_even_mentioned(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._a.png", ".ipynb_checkpoints/a-checkpoint.png", "._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    found = scan(tmp_path, Images(), trigger="zwx")
    assert [record.name for record in found.records] == ["a.png"]
    assert not found.findings


def test_things_that_might_be_taken_for_pictures_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "phone.HEIC").write_bytes(b"x")
    (tmp_path / "notes.md").write_bytes(b"x")
    found = scan(tmp_path, Images(), trigger="zwx")
    assert [(finding.level, finding.what.split(": ")[1]) for finding in found.findings] == [("warning", "phone.HEIC"), ("note", "notes.md")]


def bad_folder(root: Path) -> Path:
    picture(root / "good.png")
    Image.effect_noise((64, 64), 80).save(root / "half.jpg")
    (root / "half.jpg").write_bytes((root / "half.jpg").read_bytes()[:1200])
    (root / "empty.png").write_bytes(b"")
    (root / "page.jpg").write_bytes(b"<html>not found</html>")
    picture(root / "liar.png", format="JPEG")
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0) + bytes(4)
    (root / "bomb.png").write_bytes(bomb)
    (root / "gone.png").symlink_to(root / "nowhere.png")
    return root


def test_bad_files_and_missing_captions_all_at_once(tmp_path: Path) -> None:
    bad_folder(tmp_path)
    with pytest.raises(BadData) as caught:
        scan(tmp_path, Images())
    message = str(caught.value)
    told = ("half.jpg: is cut", "empty.png: is empty", "page.jpg: is a web page", "liar.png: is JPEG", "bomb.png", "gone.png: is a link")
    for part in told:
        assert part in message
    assert "1 picture and not one caption" in message
    assert caught.value.exit_code == 2
    assert len(caught.value.findings) == 7


def test_skip_bad_goes_on_and_records_the_list(tmp_path: Path) -> None:
    (bad_folder(tmp_path) / "gone.png").unlink()
    for name in ("good", "half"):
        (tmp_path / f"{name}.txt").write_text("x")
    found = scan(tmp_path, Images(skip_bad=True))
    assert [record.name for record in found.records] == ["good.png"]
    skipped = {finding.file for finding in found.findings if finding.what.startswith("skipped")}
    assert skipped == {"half.jpg", "empty.png", "page.jpg", "liar.png", "bomb.png"}
    assert not any("without a picture" in finding.what for finding in found.findings)  # a bad picture's caption is no orphan


def test_nothing_good_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BadData, match="not one of 1 pictures can be read"):
        scan(tmp_path, Images(skip_bad=True), trigger="zwx")


def test_survey_returns_the_errors_beside_the_good(tmp_path: Path) -> None:
    found = survey(bad_folder(tmp_path), Images(), trigger="zwx")
    assert found.has_errors
    assert [record.name for record in found.records] == ["good.png"]


def test_no_folder_and_near_names(tmp_path: Path) -> None:
    picture(tmp_path / "My_cat" / "a.png")
    with pytest.raises(BadData, match=r"no such folder.*did you mean .*My_cat\?"):
        scan(tmp_path / "my_cats", Images())
    with pytest.raises(BadData, match="is a file"):
        scan(tmp_path / "My_cat" / "a.png", Images())


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png")
    (tmp_path / "cat").mkdir()
    with pytest.raises(BadData) as caught:
        scan(tmp_path / "cat", Images())
    assert all(part in str(caught.value) for part in ("no pictures", ".jpg", ".webp", "cats"))


def test_links_in_circles_end(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "a.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert [record.name for record in scan(tmp_path, Images(), trigger="zwx").records] == ["a/a.png"]


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    try:
        (tmp_path / os.fsdecode(b"b\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system keeps no such names")
    with pytest.raises(BadData, match="not UTF-8") as caught:
        scan(tmp_path, Images(), trigger="zwx")
    str(caught.value).encode()


@pytest.mark.parametrize("is_read_only", [False, True])
def test_the_folder_stays_as_it_was(is_read_only: bool, tmp_path: Path) -> None:
    from aquatint.commands.inspect import Inspect, run

    data = tmp_path / "data"
    for number in range(3):
        picture(data / f"{number}.png", (40 + 10 * number, 40))
        (data / f"{number}.txt").write_text("a thing")
    if is_read_only:
        for path in (*data.iterdir(), data):
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree_hash(data)
    scan(data, Images())
    list(run(Inspect(data=data, resolution=64, out=tmp_path / "out" / "sheet.png")))
    assert tree_hash(data) == before
    data.chmod(0o755)


def test_settings_refuse_what_cannot_be_filled() -> None:
    from pydantic import ValidationError

    templates = ({"template": wrong} for wrong in ("{captoin}", "{caption.__class__}", "{caption!r}", "{", "{}"))
    for wrong in (*templates, {"matte": "whiteish"}, {"repeats": 0}):
        with pytest.raises(ValidationError):
            Images(**wrong)


def test_settings_import_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, aquatint.data.settings, aquatint.commands.inspect; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]
