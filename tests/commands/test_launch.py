"""The documented command, verbatim but for the script's name: alone, and in two processes with the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

TOLERANCE = 2e-2
"""Of the largest weight of a tensor: the order of additions differs, and Adam divides small gradients by themselves."""


def documented(base: Path, photos: Path, *, out: Path, batch_size: int) -> list[str]:
    return [
        "-m", "aquatint", "train", f"--pretrained_model_name_or_path={base}", f"--train_data_dir={photos}", "--resolution=16",
        "--random_flip", f"--output_dir={out}", f"--train_batch_size={batch_size}", "--gradient_accumulation_steps=4",
        "--learning_rate=1e-04", "--max_train_steps=6", "--checkpointing_steps=3", "--validation_prompt=a red square",
        "--seed=42", "--precision=fp32",
    ]  # fmt: skip


def launch(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_two_processes_train_what_one_trains(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    launch([sys.executable, *documented(tiny_sd, photos, out=one, batch_size=2)])
    accelerate = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes", "2", "--cpu"]
    said = launch([*accelerate, *documented(tiny_sd, photos, out=two, batch_size=1)])
    assert said.count("finished") == 1  # one process speaks
    alone, together = (load_file(out / "pytorch_lora_weights.safetensors") for out in (one, two))
    assert alone.keys() == together.keys()
    assert len(alone) > 10
    for name, tensor in alone.items():
        scale = float(tensor.abs().max())
        assert float((tensor - together[name]).abs().max()) <= TOLERANCE * scale + 1e-7, name


@pytest.mark.parametrize("resolution", [64, 32])
def test_a_learned_word_and_a_prior_are_split_too(resolution: int, photos: Path, tmp_path: Path) -> None:
    """At 32 pixels the base's own pictures are larger than the user's, so that both go through one after the other."""
    shared = [f"data={photos}", f"resolution={resolution}", "method=pivotal", "trigger=zwx", "prior.num=2", "steps=2", "seed=3"]
    shared += ["samples.every=0", "validation.every=0", "precision=fp32", "lr=1e-3", "cpu=true"]
    launch([sys.executable, "-m", "aquatint", "train", *shared, "batch_size=2", f"out={tmp_path / 'one'}"])
    accelerate = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes", "2", "--cpu"]
    launch([*accelerate, "-m", "aquatint", "train", *shared, "batch_size=1", f"out={tmp_path / 'two'}"])
    for file in ("learned_embeds.safetensors", "pytorch_lora_weights.safetensors"):
        alone, together = (load_file(tmp_path / out / file) for out in ("one", "two"))
        assert alone.keys() == together.keys()
        for name, tensor in alone.items():  # on the whole: Adam makes full steps of single gradients that are rounding alone
            assert float((tensor - together[name]).norm()) <= TOLERANCE * float(tensor.norm()), name


def test_several_processes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from aquatint import launching

    monkeypatch.setattr(launching, "_launcher_arguments", lambda: ["python", "/bin/accelerate", "launch", "--num_processes", "3", "--cpu"])
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("RANK", raising=False)
    assert launching.processes_withheld() == 3
    monkeypatch.setenv("RANK", "0")
    assert launching.processes_withheld() == 1
