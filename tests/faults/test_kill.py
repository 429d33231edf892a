"""Runs that are killed, damaged and interrupted end with the file of a run that was not (R39, R40, R43, R45)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from aquatint import cli
from aquatint.config import SettingsError
from aquatint.errors import BadRun


@pytest.fixture(scope="module")
def pictures(photos, tmp_path_factory) -> Path:
    """A folder of this module's own."""
    return shutil.copytree(photos, tmp_path_factory.mktemp("pictures") / "discs")


@pytest.fixture(scope="module")
def training(tiny_sd, pictures, settings):
    """Run folder -> the arguments of the command that begins it."""
    return lambda run: ["train", f"data={pictures}", f"base={tiny_sd}", f"out={run}", *settings]


@pytest.fixture(scope="module")
def unbroken(training, tmp_path_factory) -> Path:
    """A run that nothing happened to, in a process started as a user starts it."""
    run: Path = tmp_path_factory.mktemp("unbroken") / "run"
    ended = subprocess.run([sys.executable, "-m", "aquatint", *training(run)], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert last_step(run) == 10
    return run


@pytest.fixture
def is_as_unbroken(unbroken, tensors_of):
    """Run folder -> whether its file holds the same bits."""

    def compare(run):
        ours, theirs = tensors_of(run), tensors_of(unbroken)
        assert len(theirs) > 40
        return ours.keys() == theirs.keys() and all(torch.equal(ours[n].view(torch.uint8), theirs[n].view(torch.uint8)) for n in theirs)

    return compare


def last_step(run) -> int:
    """The last optimizer step in the log; a line may be cut off by the kill."""
    log = run / "log.jsonl"
    lines = [line for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []
    return max((event["step"] for event in map(json.loads, lines) if event["event"] == "Stepped"), default=0)


def checkpoints(run):
    return sorted(path.name for path in (run / "checkpoints").glob("step_*") if not path.name.endswith(".writing"))


def test_kill_damage_kill_and_resume_give_the_file_of_an_unbroken_run(aquatint, training, is_as_unbroken, tmp_path):
    """Killed before its first checkpoint, between two, while writing one, and after the newest one was damaged; resumed each time."""
    run = tmp_path / "run"
    aquatint(*training(run)).kill_when(lambda: last_step(run) >= 1)
    aquatint("resume", run).kill_when(lambda: last_step(run) >= 3)
    before = checkpoints(run)
    assert "step_0000002" in before
    aquatint("resume", run).kill_when(lambda: any((run / "checkpoints").glob("step_0000006*.writing")))
    assert {"step_0000004"} <= set(checkpoints(run)) <= {"step_0000002", "step_0000004", "step_0000006"}
    newest = run / "checkpoints" / checkpoints(run)[-1] / "optimizer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7])
    assert aquatint("resume", run).wait() == 0
    assert last_step(run) == 10
    assert is_as_unbroken(run)
    assert not list(run.rglob("*.writing"))
    with pytest.raises(BadRun, match="this run has finished"):
        cli.run(["resume", str(run)])


def test_a_run_killed_at_its_very_end_is_finished_by_a_resume(unbroken, aquatint, is_as_unbroken, tmp_path):
    """All steps are done and saved; the file, its proof and the pages are not."""
    run = shutil.copytree(unbroken, tmp_path / "run")
    for path in (run / "facts.json", run / "pytorch_lora_weights.safetensors", run / "README.md"):
        path.unlink()
    child = aquatint("resume", run)
    assert child.wait() == 0, child.text()
    assert is_as_unbroken(run)
    assert json.loads((run / "facts.json").read_text())["steps"] == 10
    assert (run / "README.md").is_file()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_saves_and_says_how_to_go_on(signum, aquatint, training, is_as_unbroken, tmp_path):
    run = tmp_path / "run"
    child = aquatint(*training(run))
    wait_for_step(child, run, step=3)
    os.kill(child.pid, signum)
    assert child.wait() == 0, child.text()
    stopped = last_step(run)
    assert 3 <= stopped < 10
    assert f"stopped after step {stopped}, the state is saved; go on with\n  aquatint resume {run}" in child.text()
    assert checkpoints(run)[-1] == f"step_{stopped:07d}"
    assert not (run / "pytorch_lora_weights.safetensors").exists()
    assert aquatint("resume", run).wait() == 0
    assert is_as_unbroken(run)


def wait_for_step(child, run, *, step):
    deadline = time.monotonic() + 180
    while last_step(run) < step and child.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_changed_pictures_captions_base_or_settings_are_refused_at_resume(aquatint, training, tiny_sd, pictures, is_as_unbroken, tmp_path):
    """R41; after each refusal the run is as it was, so that in the end it can go on."""
    data, base, run = shutil.copytree(pictures, tmp_path / "data"), shutil.copytree(tiny_sd, tmp_path / "base"), tmp_path / "run"
    arguments = [{"data": f"data={data}", "base": f"base={base}"}.get(text.partition("=")[0], text) for text in training(run)]
    aquatint(*arguments).kill_when(lambda: last_step(run) >= 3)
    caption, weights = data / "teal.txt", base / "unet" / "diffusion_pytorch_model.safetensors"
    text, content = caption.read_text(), weights.read_bytes()

    def refusal(*arguments):
        child = aquatint(*(arguments or ("resume", run)))
        assert child.wait() == 2, child.text()
        assert "this would not be the same run" in child.text()
        assert "Traceback" not in child.text()
        return child.text()

    caption.write_text("a green disc")
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    both = refusal()
    assert "captions changed" in both
    assert "the weights of the base model are others" in both
    caption.write_text(text)
    weights.write_bytes(content)
    shutil.copy(data / "gold.jpg", data / "zebra.jpg")
    (data / "zebra.txt").write_text("a zebra")
    (data / "navy.png").rename(tmp_path / "navy.png")
    (data / "navy.txt").rename(tmp_path / "navy.txt")
    other = refusal("train", run / "config.yaml", "resume=true", "method.rank=4")
    assert "pictures are gone: navy.png\n" in other
    assert "pictures are new: zebra.jpg\n" in other
    assert "method.rank=4 (was 2)" in other
    for name in ("zebra.jpg", "zebra.txt"):
        (data / name).unlink()
    for name in ("navy.png", "navy.txt"):
        (tmp_path / name).rename(data / name)
    child = aquatint("train", run / "config.yaml", "resume=true", "loss.min_snr_gamma=4")
    assert child.wait() == 0, child.text()
    assert "warning: resumed with other settings: loss.min_snr_gamma=4.0 (was 5.0)" in child.text()
    assert not is_as_unbroken(run)


def test_a_folder_with_a_run_is_not_trained_into(unbroken, training):
    run = unbroken
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert len(before) > 10
    with pytest.raises(SettingsError, match=f"holds another run; go on with it .aquatint resume {run}"):
        cli.run(training(run))
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}


def test_a_resume_of_nothing_says_so(tmp_path, training):
    with pytest.raises(BadRun, match="no run has been here"):
        cli.run(["resume", str(tmp_path)])
    with pytest.raises(SettingsError, match="holds no run to go on with"):
        cli.run([*training(tmp_path), "resume=true"])


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(unbroken, aquatint, tmp_path):
    run = shutil.copytree(unbroken, tmp_path / "run")
    (run / "facts.json").unlink()
    files = list((run / "checkpoints").rglob("trained.safetensors"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"")
    child = aquatint("resume", run)
    assert child.wait() == 2
    assert "there is no whole checkpoint to go on from" in child.text()


def test_the_stored_settings_are_settled_and_hold_from_any_place(unbroken, pictures, tiny_sd):
    stored = yaml.safe_load((unbroken / "config.yaml").read_text())
    assert (stored["steps"], stored["batch_size"], stored["lr"], stored["precision"]) == (10, 1, 0.01, "fp32")
    assert (stored["data"], stored["base"]) == (str(pictures.absolute()), str(tiny_sd.absolute()))
