"""One process at a time trains in a folder, and a dead one is in nobody's way. Held up by SIGSTOP, a process stays where it is."""

import json
import os
import signal
import subprocess
import sys

import pytest

from aquatint import cli
from aquatint.errors import BadRun
from aquatint.training.folder import RunFolder


@pytest.fixture
def training(tiny_sd, photos, settings):
    """Run folder -> the arguments of the command that begins it."""
    return lambda run: ["train", f"data={photos}", f"base={tiny_sd}", f"out={run}", *settings]


def has_stepped(run):
    log = run / "log.jsonl"
    return log.exists() and '"Stepped"' in log.read_text()


def assert_refused(child):
    assert child.wait() == 2, child.text()
    assert "another process is training here" in child.text()
    assert "Traceback" not in child.text()


def assert_finished(run):
    assert json.loads((run / "facts.json").read_text())["steps"] == 10


def test_a_run_at_work_is_not_resumed_beside_itself(aquatint, training, tmp_path):
    run = tmp_path / "run"
    first = aquatint(*training(run))
    first.signal_when(lambda: has_stepped(run), signal.SIGSTOP)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert_refused(aquatint("resume", run))
    assert_refused(aquatint("train", run / "config.yaml", "resume=true"))
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0, first.text()
    assert_finished(run)


def test_a_killed_run_is_resumed_at_once(aquatint, training, tmp_path):
    run = tmp_path / "run"
    first = aquatint(*training(run))
    first.signal_when(lambda: has_stepped(run), signal.SIGSTOP)
    assert_refused(aquatint("resume", run))
    first.kill_when(lambda: True)
    resumed = aquatint("resume", run)
    assert resumed.wait() == 0, resumed.text()
    assert_finished(run)


HOLDER = """
import sys, time
from pathlib import Path
from aquatint.training.folder import RunFolder
with RunFolder(Path(sys.argv[1])).claimed():
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_two_beginners_in_one_folder(aquatint, training, tmp_path):
    """The second comes while the first has only claimed the folder; after the first one's death the folder counts as empty."""
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "claimed\n"
            assert [path.name for path in run.iterdir()] == ["log.jsonl"]
            assert_refused(aquatint(*training(run)))
        finally:
            first.kill()
    third = aquatint(*training(run))
    assert third.wait() == 0, third.text()
    assert_finished(run)


def test_the_folder_is_free_after_a_run_that_failed(training, tmp_path):
    """In one process, where nothing dies with it."""
    folder = RunFolder(tmp_path / "run")
    with folder.claimed(), pytest.raises(BadRun, match="another process is training here"):
        cli.run(training(folder.path))
    with pytest.raises(ZeroDivisionError), folder.claimed():
        _ = 1 / 0
    assert cli.run(training(folder.path)) == 0
    assert_finished(folder.path)
