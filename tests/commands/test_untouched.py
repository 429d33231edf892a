"""Every command leaves the user's pictures bit for bit as they were, and does its work where it may only read them. R15."""

import hashlib
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from obedient import heed_permissions
from PIL import Image

from aquatint.registry import commands

COMMANDS = commands.names()
RUN_ALL = """
import json, sys
from pathlib import Path
from aquatint import cli
from aquatint.commands import demo, train
from aquatint.evaluation import demonstration
from aquatint.training.settings import Train

def is_writable(folder):
    try:
        (folder / "new").touch()
        (folder / "new").unlink()
    except OSError:
        return False
    return True

def begin(line):
    run = train.run(Train.read(line))
    for event in run:
        if type(event).__name__ == "Stepped" and event.step == 2:
            run.close()

data, lines, told = Path(sys.argv[1]), json.loads(sys.argv[2]), {}
demo.RECIPE = (*demo.RECIPE, "steps=2", "prior.num=2", "samples.every=0")  # seconds instead of minutes
demonstration.NUM_SUBJECT = demonstration.NUM_KEPT = 2
if "begin" in lines:
    begin(lines.pop("begin"))
for name, line in lines.items():
    told[name] = cli.run(line)
print("\\n" + json.dumps({"codes": told, "is_writable": sys.argv[3] == "True" and is_writable(data)}))
"""
"""One process for all commands: each would import torch anew."""


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Of all that lies there and of the folder itself: kind and mode, owner, times of the last change, content."""
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        state = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        found[str(path.relative_to(root))] = (*state, content)
    return found


def lines(data: Path, base: Path, *, out: Path) -> dict[str, list[str]]:
    """One way to use each command on this folder, in an order in which each finds what it needs."""
    file, merged = out / "run" / "pytorch_lora_weights.safetensors", out / "merged"
    how = [str(data), f"base={base}", "resolution=16", "samples.num_steps=1", "steps=3", "checkpoints.every=1"]
    return {
        "begin": [*how, f"out={out / 'stopped'}"],
        "doctor": ["doctor", str(out), "min_disk_gib=0", "min_memory_gib=0"],
        "inspect": ["inspect", str(data), "resolution=16", f"out={out / 'sheet.png'}"],
        "cache": ["cache", *how, f"out={out / 'cached'}"],
        "train": ["train", *how, f"out={out / 'run'}"],
        "resume": ["resume", str(out / "stopped")],
        "generate": ["generate", str(out / "run"), "prompt=a teal disc", "steps=1", f"out={out / 'drawn'}"],
        "restore": [
            "restore", str(data / "more" / "deeper" / "last.png"), f"model={out / 'run'}", "fit=true", "samples=2", "steps=1",
            f"out={out / 'restored'}",
        ],
        "check": ["check", str(out / "run"), f"base={base}"],
        "convert": ["convert", str(file), "to=diffusers", f"out={out / 'converted.safetensors'}"],
        "resize": ["resize", str(file), "rank=2", f"out={out / 'resized.safetensors'}"],
        "merge": ["merge", str(file), f"base={base}", f"out={merged}"],
        "extract": ["extract", str(merged), str(base), "rank=2", f"out={out / 'extracted.safetensors'}"],
        "demo": ["demo", f"out={out / 'demo'}", "style=false", f"pictures={data}"],
    }  # fmt: skip


QUICK = ("begin", "doctor", "inspect", "cache", "train", "resume", "generate", "restore", "check", "convert", "resize", "merge", "extract")
MADE = {
    "begin": "stopped", "doctor": ".", "inspect": "sheet.png", "cache": ".", "train": "run/report.html", "resume": "stopped/report.html",
    "generate": "drawn/42.png", "restore": "restored/last/mean.png", "check": ".", "convert": "converted.safetensors",
    "resize": "resized.safetensors", "merge": "merged/model_index.json", "extract": "extracted.safetensors",
    "demo": "demo/subject/before_after.png",
}  # fmt: skip
"""What tells that it did its work."""


def test_the_table_has_every_command() -> None:
    assert len(COMMANDS) == 13
    assert {*QUICK, "demo"} == {*lines(Path("data"), Path("base"), out=Path("out"))} == {*COMMANDS, "begin"}


@pytest.fixture
def pictures(photos: Path, tmp_path: Path) -> Path:
    """With captions in a table too, folders in folders, and a link."""
    data = shutil.copytree(photos, tmp_path / "my pictures")
    (data / "more" / "deeper").mkdir(parents=True)
    (data / "metadata.csv").write_text("file_name,text\nmore/deeper/last.png,a grey disc\n", encoding="utf-8")
    Image.new("L", (24, 24), 90).save(data / "more" / "deeper" / "last.png")
    (data / "more" / "link.png").symlink_to("deeper/last.png")
    (data / "more" / "link.txt").write_text("a grey disc", encoding="utf-8")
    return data


@pytest.mark.parametrize("is_read_only", [False, True])
@pytest.mark.parametrize("group", [pytest.param(QUICK, id="quick"), pytest.param(("demo",), id="demo", marks=pytest.mark.slow)])
def test_commands_leave_the_pictures_as_they_were(
    group: tuple[str, ...], is_read_only: bool, pictures: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    (out := tmp_path / "out").mkdir()
    chosen = {name: line for name, line in lines(pictures, tiny_sd, out=out).items() if name in group}
    if is_read_only:
        for path in (pictures, *pictures.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(pictures)
    command = [sys.executable, "-c", RUN_ALL, str(pictures), json.dumps(chosen), str(is_read_only)]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=heed_permissions, cwd=out, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(before) == 19
    assert tree(pictures) == before
    told = json.loads(ended.stdout.splitlines()[-1])
    assert not told["is_writable"]  # else read-only meant nothing
    assert told["codes"] == {name: 0 for name in group if name != "begin"}
    assert [name for name in group if not (out / MADE[name]).exists()] == []
