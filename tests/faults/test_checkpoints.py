"""A checkpoint is whole or absent, whenever its writer dies and whatever happens to its files (R43)."""

import os
import shutil
import signal
import sys

import pytest
import torch

from aquatint.training import checkpoint
from aquatint.training.checkpoint import NotFinite, State


def state(step, value=None):
    value = float(step) if value is None else value
    tensors = {"a": torch.full((3, 2), value), "b": torch.full((4,), -value)}
    return State(step=step, trained=tensors, optimizer={"a/exp_avg": torch.ones(3, 2) * value}, average={}, facts={"who": "me"})


def is_whole(found, step):
    expected = state(step)
    return (found.step, found.facts) == (step, expected.facts) and all(torch.equal(found.trained[n], expected.trained[n]) for n in "ab")


def dying(folder, act, *, at):
    """Run `act`, and die by SIGKILL at the given operation on a file of `folder`."""
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event.split(".")[0] in ("open", "os", "shutil") and any(str(folder) in str(argument) for argument in arguments):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def run():
        sys.addaudithook(watch)
        act()
        return 0

    return run


@pytest.mark.parametrize("has_damaged", [False, True], ids=["new", "in place of a damaged one"])
def test_a_writer_killed_at_any_operation_leaves_a_whole_checkpoint(has_damaged, fork, tmp_path):
    def write(folder):
        checkpoint.save(state(2), folder)
        checkpoint.prune(folder, 1)

    deaths, steps = 0, set()
    for at in range(1, 200):
        folder = tmp_path / f"states-{at}"
        checkpoint.save(state(1), folder)
        if has_damaged:
            (checkpoint.save(state(2), folder) / "trained.safetensors").write_bytes(b"cut")
        code = fork(dying(folder, lambda folder=folder: write(folder), at=at)).wait()
        newest = checkpoint.newest(folder)
        assert newest is not None, f"nothing whole after death at operation {at}"
        found = checkpoint.load(newest)
        assert is_whole(found, found.step)
        steps.add(found.step)
        write(folder)  # the next writer is not hindered by what the dead one left
        assert sorted(path.name for path in folder.iterdir()) == ["step_0000002"]
        shutil.rmtree(folder)
        if code == 0:
            break
        deaths += 1
        assert code == -signal.SIGKILL
    assert 15 < deaths < 199
    assert steps == {1, 2}


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.safetensors", "average.safetensors", "facts.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "empty", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over(name, harm, tmp_path):
    checkpoint.save(state(1), tmp_path)
    file = checkpoint.save(state(2), tmp_path) / name
    assert is_whole(checkpoint.load(checkpoint.newest(tmp_path)), 2)
    content = file.read_bytes()
    middle = len(content) // 2
    {
        "cut": lambda: file.write_bytes(content[:-3]),
        "empty": lambda: file.write_bytes(b""),
        "flip": lambda: file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]),
        "remove": file.unlink,
    }[harm]()
    assert is_whole(checkpoint.load(checkpoint.newest(tmp_path)), 1)
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        checkpoint.load(file.parent)


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '{"trained.safetensors": 3}'])
def test_a_manifest_that_seals_nothing_is_damage(manifest, tmp_path):
    place = checkpoint.save(state(1), tmp_path)
    (place / "manifest.json").write_text(manifest)
    assert checkpoint.newest(tmp_path) is None


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 30, 4):
        checkpoint.save(state(step), tmp_path)
    (tmp_path / "step_0000009.77.writing").mkdir()
    checkpoint.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_0000004", "step_0000030"]


def test_a_state_that_is_not_finite_is_never_written(tmp_path):
    checkpoint.save(state(1), tmp_path)
    with pytest.raises(NotFinite, match=r"after step 2 2 trained tensors are not finite, first a"):
        checkpoint.save(state(2, torch.nan), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step_0000001"]
