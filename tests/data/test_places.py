"""Bytes are read from where they lie, and a change is seen without reading them."""

import os
import tarfile
from pathlib import Path

import pytest

from aquatint.data.places import File, Stretch


def test_a_member_of_an_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    contents = {"a.PNG": b"first", "x/b.jpg": b"second, and longer"}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    archive = tmp_path / "all.tar"
    with tarfile.open(archive, "w") as tar:
        for name in contents:
            tar.add(tmp_path / name, name)
    with tarfile.open(archive) as tar:
        places = [Stretch(archive, member.name, member.offset_data, member.size) for member in tar]
    assert {place.name: place.read() for place in places} == contents
    assert [place.suffix for place in places] == [".png", ".jpg"]
    assert len({place.signature() for place in places}) == 2
    with archive.open("r+b") as file:
        file.truncate(places[1].offset + 3)
    with pytest.raises(OSError, match=r"ends before x/b\.jpg"):
        places[1].read()


def test_a_change_is_seen_though_size_and_time_are_put_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    place, status = File(path), path.stat()
    before = place.signature()
    assert place.signature() == before
    path.write_bytes(b"after!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.signature() != before
