"""Folders full of damaged and hostile files: nothing crashes, hangs or eats the memory, and every bad file is named. R13, R14.

The scan runs in a process of its own, which permissions hold back and whose memory and time are measured.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hostile import corpus, encoded, sound, with_pages
from obedient import heed_permissions

MAX_SECONDS, MAX_BYTES, SCAN_SECONDS = 2, 1 << 30, 120
DEPTH, NUM_MESHED = 1100, 9
SCAN = """
import hashlib, json, resource, sys, time
from pathlib import Path
from aquatint.data.pictures import BadPicture, read_picture
from aquatint.data.places import File
from aquatint.data.records import survey
from aquatint.data.settings import Images
from aquatint.data.tree import list_files

root = Path(sys.argv[1])
found = survey(root, Images(), trigger="zwx")
seen = {record.name: "" for record in found.records}
slow = {}
for name in list_files(root).pictures:
    begun = time.process_time()
    try:
        picture = read_picture(root / name, content=File(root / name).read())
        if name in seen:
            seen[name] = hashlib.sha256(picture.image.tobytes()).hexdigest()
    except (BadPicture, OSError):
        pass
    slow[name] = time.process_time() - begun
def peak():  # of this program: the system's own figure begins with that of the process it was forked from
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({
    "seen": seen, "captions": {record.name: record.caption for record in found.records},
    "findings": [[finding.level, finding.file, finding.what] for finding in found.findings], "seconds": slow,
    "peak": peak(),
}))
"""
NAMES = (
    "x" * 200, "猫", "قطة", "кошка", "बिल्ली", "고양이", "🐈‍⬛",
    "e\u0301te\u0301", "new\nline", "tab\t", " before", "after ", "-rf", "--help",
    "$(touch pwned)", "`id`", "%s%n", "[red]bold[/red]", "a;b&c", "quote'\"",
    "back\\slash", "a.b.c", "\x1b[2J", "\u202egnp.exe", "COM1", "*?",
    "{caption}", "https:", "zero\u200bwidth", "~", "#", "@file",
)  # fmt: skip
SIDECARS = {
    "zeros.txt": bytes(99), "program.txt": b"\x7fELF\2\1\1\0" * 99, "picture.txt": encoded("PNG"),
    "cut.txt": b"\xff\xfea\0 \0c\0a",
    "wide.txt": b"\xff\xfe\0\0a\0\0", "neither.caption": b"a caf\xe9 \x81\x8d", "large.txt": b"word " * 10_000_000,
    "western.txt": b"a caf\xe9",
}  # fmt: skip
TABLES = {
    "deep/metadata.jsonl": b"[" * 200_000, "lines/metadata.jsonl": b'{"file_name": \n[1]\n\xc3\xa9\n',
    "quote/metadata.csv": b'file_name,text\na.png,"x\n',
    "zero/metadata.csv": b"file_name,text\na.png,\0", "field/metadata.csv": b"file_name,text\na.png," + b"x" * 200_000,
    "away/metadata.jsonl": b'{"file_name": "../../../etc/passwd", "text": "x"}\n{"file_name": "\\u0000", "text": 1}',
}  # fmt: skip
SPECIAL = (
    "fifo.png", "fifo.txt", "socket.png", "zero.png", "full.png", "self.png", "ring.png", "nowhere.png", "locked.png", "locked",
    "sparse.png",
)  # fmt: skip
"""What must be named in `special/`."""


@dataclass(frozen=True)
class Scanned:
    seen: dict[str, str]
    """Record -> hash of its pixels."""
    captions: dict[str, str]
    findings: list[tuple[str, str, str]]
    seconds: dict[str, float]
    """Of processor time."""
    peak: int
    """Most memory at any time, in bytes."""

    def is_named(self, name: str, *levels: str) -> bool:
        """In a finding of its own."""
        wanted = levels or ("error",)
        return any(level in wanted and (file == name or file.startswith(f"{name}, line ")) for level, file, _ in self.findings)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def put_special(root: Path, good: bytes) -> None:
    root.mkdir()
    for name in ("fifo.png", "fifo.txt"):
        os.mkfifo(root / name)
    os.mknod(root / "socket.png", stat.S_IFSOCK | 0o644)
    links = {"zero.png": "/dev/zero", "full.png": "/dev/full", "self.png": "self.png", "ring.png": "rung.png", "rung.png": "ring.png",
             "nowhere.png": "nowhere", "up": "..", "link.png": "inside.png/good.png"}  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    put(root / "inside.png" / "good.png", good)
    put(root / "locked.png", good)
    put(root / "locked" / "good.png", good)
    with (root / "sparse.png").open("wb") as file:
        file.truncate(50 << 30)
    for number in range(NUM_MESHED):
        put(root / "mesh" / str(number) / "good.png", good)
        for other in range(NUM_MESHED):
            (root / "mesh" / str(number) / f"to {other}").symlink_to(f"../{other}")
    put_deep(root, good)
    for name in ("locked.png", "locked"):
        (root / name).chmod(0)


def put_deep(root: Path, good: bytes) -> None:
    """Below more folders than Python nests calls."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=folder)
        above, folder = folder, os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(above)
    with os.fdopen(os.open("good.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "wb") as file:
        file.write(good)
    os.close(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root, good = tmp_path_factory.mktemp("hostile") / "data", encoded("PNG")
    for name, (_, content) in corpus().items():
        put(root / name, content)
    for name in NAMES:
        put(root / "names" / f"{name}.png", good)
    for name, content in SIDECARS.items():
        put(root / "sidecars" / name, content)
        put(root / "sidecars" / f"{name.partition('.')[0]}.png", good)
    for name, content in TABLES.items():
        put(root / "tables" / name, content)
        put(root / "tables" / name.partition("/")[0] / "a.png", good)
    put_special(root / "special", good)
    yield root
    (root / "special" / "locked").chmod(0o755)
    subprocess.run(["rm", "-rf", str(root)], check=True)  # deeper than shutil.rmtree can go


def scanned(root: Path) -> Scanned:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", SCAN, str(root)], capture_output=True, timeout=SCAN_SECONDS,
                           preexec_fn=heed_permissions, env=environment)  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")[-3000:]
    told: dict[str, Any] = json.loads(ended.stdout)
    return Scanned(told["seen"], told["captions"], [tuple(row) for row in told["findings"]], told["seconds"], told["peak"])


@pytest.fixture(scope="module")
def scan(folder: Path) -> Scanned:
    return scanned(folder)


def test_there_are_enough() -> None:
    assert (len(sound()), len(with_pages())) == (23, 6)
    made = corpus()
    num = {verdict: sum(of == verdict for of, _ in made.values()) for verdict in ("bad", "sound", "either", "same")}
    assert num == {"bad": 256, "sound": 47, "either": 151, "same": 18}
    assert len(made) + len(NAMES) + len(SIDECARS) + len(TABLES) + len(SPECIAL) == 472 + 32 + 8 + 6 + 11


def test_neither_memory_nor_time_is_eaten(scan: Scanned) -> None:
    assert len(scan.seconds) > 500
    assert {name: seconds for name, seconds in scan.seconds.items() if seconds > MAX_SECONDS} == {}
    assert scan.peak < MAX_BYTES


def test_every_bad_file_is_named_and_every_sound_one_is_read(scan: Scanned) -> None:
    made = corpus()
    assert [name for name, (verdict, _) in made.items() if verdict == "bad" and not scan.is_named(name)] == []
    assert [name for name, (verdict, _) in made.items() if verdict == "bad" and name in scan.seen] == []
    assert [name for name, (verdict, _) in made.items() if verdict == "sound" and name not in scan.seen] == []
    assert [name for name in made if scan.is_named(name) == (name in scan.seen)] == []  # one or the other


def test_what_passes_though_it_is_cut_has_the_pixels_of_the_whole(scan: Scanned) -> None:
    cut = [name for name, (verdict, _) in corpus().items() if verdict == "same" and name in scan.seen]
    assert cut
    assert [name for name in cut if scan.seen[name] != scan.seen["sound/" + name.partition("% ")[2]]] == []


def test_names_in_every_script(scan: Scanned) -> None:
    assert {name for name in scan.seen if name.startswith("names/")} == {f"names/{name}.png" for name in NAMES}


def test_special_files_and_links_are_named_and_none_is_waited_for(scan: Scanned) -> None:
    assert [name for name in SPECIAL if not scan.is_named(f"special/{name}")] == []
    deep = "special/" + "d/" * DEPTH + "good.png"
    meshed = {f"special/mesh/{number}/good.png" for number in range(NUM_MESHED)}
    assert {name for name in scan.seen if name.startswith("special/")} == {"special/link.png", "special/inside.png/good.png", deep, *meshed}


def test_hostile_captions_are_named_and_their_pictures_read(scan: Scanned) -> None:
    assert [name for name in SIDECARS if not scan.is_named(f"sidecars/{name}", "error", "warning")] == []
    assert [name for name in TABLES if not scan.is_named(f"tables/{name}")] == []
    assert any("etc/passwd" in what and "without a picture" in what for _, _, what in scan.findings)
    assert scan.captions["sidecars/western.png"] == "zwx, a café"
    others = {name.partition(".")[0] for name in SIDECARS} - {"western"}
    assert {scan.captions[f"sidecars/{name}.png"] for name in others} == {"a zwx"}


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    put(tmp_path / "good.png", encoded("PNG"))
    try:
        put(tmp_path / os.fsdecode(b"b\xff.png"), encoded("PNG"))
    except OSError:
        pytest.skip("this file system keeps no such names")
    found = scanned(tmp_path)
    assert list(found.seen) == ["good.png"]
    assert found.is_named("b\ufffd.png")


def test_inspect_shows_such_a_folder_to_the_end(folder: Path, tmp_path: Path) -> None:
    """With all the names and links, but not all the files."""
    for part in ("names", "sidecars"):
        shutil.copytree(folder / part, tmp_path / "data" / part)
    put(tmp_path / "data" / "bad\x1b[2J\n[red].png", b"")
    os.mkfifo(tmp_path / "data" / "fifo.png")
    command = [sys.executable, "-m", "aquatint", "inspect", str(tmp_path / "data"), "trigger=zwx", f"out={tmp_path / 'sheet.png'}"]
    ended = subprocess.run(command, capture_output=True, timeout=SCAN_SECONDS, text=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    assert "[red].png: is empty" in ended.stdout
    assert "fifo.png: is a link" in ended.stdout
    assert (tmp_path / "sheet.png").is_file()
