"""WebDataset archives, as GNU tar and Python write them, and as damage and malice leave them."""

import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from aquatint.data.findings import BadData
from aquatint.data.places import Stretch
from aquatint.data.settings import Images
from aquatint.data.sources import read
from aquatint.data.sources.shards import expanded


def archive(path: Path, members: Mapping[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            add(tar, name, content=content)
    return path


def add(tar: tarfile.TarFile, name: str, *, content: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


def shown(source: object, **settings: object) -> list[tuple[str, str | None]]:
    return [(entry.name, entry.caption) for entry in read(str(source), Images(**settings)).entries]


def errors(source: object) -> list[str]:
    """What is wrong with an archive of which something can be used."""
    return [str(finding) for finding in read(str(source), Images()).findings if finding.level == "error"]


def refusal(source: object) -> str:
    with pytest.raises(BadData) as raised:
        read(str(source), Images())
    return str(raised.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_one_archive(tmp_path: Path, png, untouched, form: int) -> None:
    long = "d" * 80 + "/" + "n" * 60
    members = {
        "./10.png": png(10), "./10.txt": b"ten\nlines", "x/2.PNG": png(2), "x/2.json": b'{"caption": "two", "other": 3}', "x/2.cls": b"7",
        f"{long}.png": png(3), f"{long}.caption": "drei \u00fc".encode("cp1252"), "4.png": png(4),
    }  # fmt: skip
    path = archive(tmp_path / "tars" / "all.tar", members, form=form)
    check = untouched(path.parent)
    offer = read(str(path), Images())
    assert [(entry.name, entry.caption) for entry in offer.entries] == [
        ("4.png", None), ("10.png", "ten\nlines"), (f"{long}.png", "drei \u00fc"), ("x/2.PNG", "two")
    ]  # fmt: skip
    assert [entry.place.read() for entry in offer.entries] == [png(4), png(10), png(3), png(2)]
    assert all(isinstance(entry.place, Stretch) for entry in offer.entries)
    assert [finding.level for finding in offer.findings] == ["warning"]  # of Windows-1252
    check()


def test_as_tar_itself_packs_a_folder(tmp_path: Path, photos_dir: Path, png) -> None:
    (photos_dir / "a.txt").write_text("x")
    (photos_dir / ".DS_Store").write_bytes(b"junk")
    subprocess.run(["tar", "cf", tmp_path / "all.tar", "-C", photos_dir, "."], check=True)
    assert shown(tmp_path / "all.tar") == [("a.png", "x"), ("b.png", None), ("sub/c.png", None)]
    assert not read(str(tmp_path / "all.tar"), Images()).findings


def test_one_key_in_two_archives_stays_two(tmp_path: Path, png) -> None:
    for number in range(2):
        archive(tmp_path / "set" / f"s-{number:03d}.tar", {"a.png": png(number), "a.txt": f"no {number}".encode()})
    expected = [("s-000/a.png", "no 0"), ("s-001/a.png", "no 1")]
    for source in ("set", "set/s-{000..001}.tar", "set/s-*.tar", "set/s-{001,000}.tar"):
        assert shown(tmp_path / source) == expected
    archive(tmp_path / "more" / "s-000.tar", {"a.png": png(5)})
    assert [name for name, _ in shown(tmp_path / "*" / "s-000.tar")] == ["more/s-000/a.png", "set/s-000/a.png"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("x{a,b}y{0..1}", ["xay0", "xay1", "xby0", "xby1"]),
        ("{a}{}", ["{a}{}"]),
    ],
)
def test_braces(pattern: str, names: list[str]) -> None:
    assert expanded(pattern) == names


def test_too_many_shards_are_not_even_named(tmp_path: Path) -> None:
    assert "stands for more than 100,000 shards" in refusal(tmp_path / "a-{0..99999999999}.tar")
    assert "stands for more than 100,000 shards" in refusal(tmp_path / "a-{0..999}-{0..999}.tar")


def test_what_is_missing_or_packed_is_told_at_once(tmp_path: Path, png) -> None:
    archive(tmp_path / "a-0.tar", {"a.png": png(0)})
    for name in ("a-2.tar", "a-4.tar.gz", "a-5.tgz"):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            add(tar, "a.png", content=png(1))
    told = refusal(tmp_path / "a-{0..3}.tar")
    assert f"{tmp_path / 'a-1.tar'}: there is no such file" in told
    assert f"{tmp_path / 'a-3.tar'}: there is no such file" in told
    assert f"{tmp_path / 'a-2.tar'}: is packed (gzip) -> unpack it" in told
    assert "is packed (gzip)" in refusal(tmp_path / "a-4.tar.gz")
    assert "is packed (gzip)" in refusal(tmp_path / "a-5.tgz")
    assert refusal(tmp_path).count("is packed (gzip)") == 3
    assert f"did you mean {tmp_path / 'a-0.tar'}?" in refusal(tmp_path / "a0.tar")
    assert "no file is called so" in refusal(tmp_path / "b-*.tar")


def test_captions_from_the_key_that_is_asked_for(tmp_path: Path, png) -> None:
    members = {"a.png": png(0), "a.txt": b"x", "a.json": b'{"caption": "y", "alt": " z "}', "b.png": png(1)}
    path = archive(tmp_path / "all.tar", {**members, "b.json": b'{"text": null, "prompt": "p"}'})
    assert shown(path) == [("a.png", "x"), ("b.png", "p")]
    assert shown(path, caption_column="alt") == [("a.png", "z"), ("b.png", None)]
    told = [str(finding) for finding in read(str(path), Images(caption_column="atl")).findings]
    assert told == [f"{path}: not one .json beside a picture has a text under 'atl' -> choose one by images.caption_column"]


def test_masks_and_keys_with_several_pictures(tmp_path: Path, png) -> None:
    members = {
        "a.png": png(0), "a.mask.png": png(7), "b.jpg": png(1), "b.png": png(1), "c.left.png": png(2), "d.mask.png": png(3), "e.txt": b"x",
        "f.v1.png": png(4), "f.v2.png": png(5),
    }  # fmt: skip
    path = archive(tmp_path / "all.tar", members)
    offer = read(str(path), Images())
    assert [entry.name for entry in offer.entries] == ["a.png", "c.left.png", "d.mask.png"]
    assert [entry.mask and entry.mask.read() for entry in offer.entries] == [png(7), None, None]
    assert [finding.what for finding in offer.findings] == [
        "has 2 pictures: jpg, png", "has 2 pictures: v1.png, v2.png", "1 key without a picture: e"
    ]  # fmt: skip
    assert {finding.level for finding in read(str(path), Images(skip_bad=True)).findings} == {"warning"}


def test_members_that_are_left_aside(tmp_path: Path, png) -> None:
    path = tmp_path / "all.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "a.png", content=png(0))
        add(tar, "link.png", type=tarfile.SYMTYPE, linkname="a.png")
        add(tar, "hard.png", type=tarfile.LNKTYPE, linkname="a.png")
        add(tar, "pipe.png", type=tarfile.FIFOTYPE)
        add(tar, "../up.png", content=png(1))
        add(tar, "x/../../up.png", content=png(1))
        add(tar, "/root.png", content=png(1))
        add(tar, "folder", type=tarfile.DIRTYPE)
        add(tar, "__MACOSX/._a.png", content=b"junk")
        add(tar, "half\udcff.png", content=png(1))
        add(tar, "a.png", content=png(5))
    offer = read(str(path), Images())
    assert [(entry.name, entry.place.read()) for entry in offer.entries] == [("a.png", png(5))]
    assert [str(finding).partition(": ")[2] for finding in offer.findings] == [
        "half?.png: has a name that is not UTF-8 -> rename it; or go on without it by images.skip_bad=true",
        "links, special files and names that lead out of the archive, left aside: "
        "link.png, hard.png, pipe.png, ../up.png, x/../../up.png, /root.png",
        "given twice, the last counts: a.png",
    ]


def test_captions_that_cannot_be_read(tmp_path: Path, png) -> None:
    texts = {
        "a.txt": b"x" * (2**20 + 1), "b.txt": b"a\0b", "c.json": b"{", "d.json": b"[]", "e.json": b'{"text": 3}', "f.json": b"[" * 100_000,
        "g.json": b'{"text": "half \\ud83d"}',
    }  # fmt: skip
    path = archive(tmp_path / "all.tar", {**{f"{name[0]}.png": png(0) for name in texts}, **texts})
    found = errors(path)
    nothing = "gives no caption"
    expected = ["too many for a caption", "is not text", nothing, "not a JSON object", "'text' is 3", nothing, "half a character"]
    assert len(found) == len(expected)
    for name, told, line in zip(texts, expected, found, strict=True):
        assert line.startswith(f"{path}: {name}: ")
        assert told in line
    assert {caption for _, caption in shown(path)} == {None}


@pytest.mark.parametrize("num_bytes", [512 * 3, 512 * 3 + 100, 512 * 4, 512 * 4 + 5, 512 * 5 + 13, 512 * 6])
def test_a_cut_off_archive_gives_what_stands_before(tmp_path: Path, num_bytes: int) -> None:
    """Each member is a header and 600 bytes in two blocks: the first ends at block 3, the second at block 6."""
    path = archive(tmp_path / "all.tar", {"a.png": b"a" * 600, "b.png": b"b" * 600}, form=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert [name for name, _ in shown(path)] == ["a.png"] + ["b.png"] * (num_bytes == 512 * 6)
    found = errors(path)
    assert len(found) == 1
    assert "cut off" in found[0]
    assert found[0].startswith(f"{path}: is ")
    assert "fetch it again: what stands before is sound" in found[0]


def test_a_damaged_header_ends_an_archive(tmp_path: Path, png) -> None:
    path = archive(tmp_path / "all.tar", {"a.png": png(0), "b.png": png(1), "c.png": png(2)})
    content = bytearray(path.read_bytes())
    content[1024 + 5] ^= 1  # in the name of the second
    path.write_bytes(content)
    assert [name for name, _ in shown(path)] == ["a.png"]
    assert "is damaged at byte 1,024: there is no end mark" in errors(path)[0]
    content[5] ^= 1
    path.write_bytes(content)
    assert "is not a tar archive, or is damaged from its first byte" in refusal(path)
    path.write_bytes(path.read_bytes()[:300])
    assert "is not a tar archive" in refusal(path)
    path.write_bytes(b"")
    assert "is not a tar archive" in refusal(path)
    path.write_bytes(bytes(10240))
    assert "not one picture in it can be used" in refusal(path)


def test_joined_archives_are_told(tmp_path: Path, png) -> None:
    one, two = (archive(tmp_path / f"{n}.tar", {f"{n}.png": png(n)}) for n in range(2))
    (tmp_path / "both.tar").write_bytes(one.read_bytes() + two.read_bytes())
    assert "goes on after its end mark" in errors(tmp_path / "both.tar")[0]
    assert [name for name, _ in shown(tmp_path / "both.tar")] == ["0.png"]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("num_bytes", [10**12, 2**40, -512])
def test_sizes_that_headers_announce_are_not_believed(tmp_path: Path, png, kind: bytes, num_bytes: int) -> None:
    path = tmp_path / "all.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "a.png", content=png(0))
    header = tarfile.TarInfo("b.png")
    header.type, header.size = kind, num_bytes
    content = path.read_bytes()
    path.write_bytes(content[:1024] + header.tobuf(tarfile.GNU_FORMAT) + content[1024:])
    tracemalloc.start()
    try:
        found = errors(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert [name for name, _ in shown(path)] == ["a.png"]
    assert len(found) == 1


def test_a_header_of_headers_of_headers_ends(tmp_path: Path, png) -> None:
    path = archive(tmp_path / "all.tar", {"a.png": png(0)})
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    content = path.read_bytes()
    path.write_bytes(content[:1024] + header.tobuf(tarfile.USTAR_FORMAT) * 20_000 + content[1024:])
    assert [name for name, _ in shown(path)] == ["a.png"]
    assert "is damaged or cut off near byte" in errors(path)[0]


def test_a_damaged_shard_among_sound_ones(tmp_path: Path, png) -> None:
    for number in range(3):
        archive(tmp_path / "set" / f"{number}.tar", {"a.png": png(number)})
    (tmp_path / "set" / "1.tar").write_bytes(b"<html>" * 200)
    assert [name for name, _ in shown(tmp_path / "set")] == ["0/a.png", "2/a.png"]
    assert "1.tar: is not a tar archive" in errors(tmp_path / "set")[0]
    assert {finding.level for finding in read(str(tmp_path / "set"), Images(skip_bad=True)).findings} == {"warning"}


def test_a_folder_of_archives_holds_nothing_else_to_see(tmp_path: Path, png) -> None:
    archive(tmp_path / "set" / "a.tar", {"a.png": png(0)})
    (tmp_path / "set" / "a_stats.json").write_text("{}")
    assert [str(finding) for finding in read(str(tmp_path / "set"), Images()).findings] == [
        f"{tmp_path / 'set'}: no archives, left aside: a_stats.json"
    ]
    (tmp_path / "set" / "b.png").write_bytes(png(0))
    assert [entry.name for entry in read(str(tmp_path / "set"), Images()).entries] == ["b.png"]  # a plain folder


def test_two_thousand_members_keep_no_bytes(tmp_path: Path) -> None:
    num, num_bytes = 2000, 20_000
    path = archive(tmp_path / "all.tar", {f"{n:04d}.png": b"%06d" % n * (num_bytes // 6) for n in range(num)})
    read(str(path), Images())  # imports and the like
    tracemalloc.start()
    try:
        offer = read(str(path), Images())
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(offer.entries) == num
    assert offer.entries[1234].place.read()[:6] == b"001234"
    assert kept < 1000 * num
    assert peak < 2000 * num
