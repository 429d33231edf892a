"""DreamBooth as a preset, and its script's command line: what they stand for, that all of it can be set otherwise, and that it runs."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.explanation import explain_fields
from aquatint.generation import drawing
from aquatint.training.preflight import check
from aquatint.training.settings import Train

SCRIPT = """
  --pretrained_model_name_or_path={base} --instance_data_dir={photos} --class_data_dir={classes} --output_dir={out}
  --with_prior_preservation --prior_loss_weight=0.7 --instance_prompt="a photo of sks disc" --class_prompt="a photo of disc"
  --resolution=16 --train_batch_size=1 --gradient_accumulation_steps=2 --checkpointing_steps=100 --learning_rate=1e-4
  --lr_scheduler="constant" --lr_warmup_steps=0 --max_train_steps=3 --validation_prompt="a photo of sks disc in a bucket"
  --num_class_images=5 --seed="0"
"""
"""As in the documentation of diffusers' `train_dreambooth_lora.py`."""


def read(*given: str) -> Train:
    return Train.read(["photos", *given])


def events(out: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


@pytest.mark.parametrize(("preset", "kind"), [("dreambooth", "full"), ("dreambooth-lora", "lora")])
def test_what_it_stands_for_can_be_set_otherwise(preset: str, kind: str, tmp_path: Path) -> None:
    def told(config: Train) -> tuple[object, ...]:
        return config.method.kind, config.prior.preserve, config.prior.weight

    assert told(read(f"method={preset}")) == (kind, "pictures", 1.0)
    assert told(read("--method", preset, "prior.preserve=outputs")) == (kind, "outputs", 1.0)
    assert told(read("--prior_loss_weight=3", f"method={preset}")) == (kind, "pictures", 3.0)
    assert told(read(f"method={{kind: {preset}, text_encoder: true}}")) == (kind, "pictures", 1.0)
    assert read(f"method={preset}", "--train_text_encoder").method.trains_text_encoder
    assert told(Train.from_tree({"data": "x", "method": preset, "prior": {"weight": 2}})) == (kind, "pictures", 2.0)
    assert told(Train.from_tree({"data": "x", "method": {"kind": preset, "text_encoder": True}})) == (kind, "pictures", 1.0)
    (tmp_path / "run.yaml").write_text(f"data: x\nmethod: {preset}\nprior: {{weight: 4}}\n")
    assert told(Train.read([str(tmp_path / "run.yaml")])) == (kind, "pictures", 4.0)
    assert told(Train.read([str(tmp_path / "run.yaml"), "prior.preserve=outputs"])) == (kind, "outputs", 4.0)
    assert told(Train.read([str(tmp_path / "run.yaml"), "method=pivotal"])) == ("pivotal", "pictures", 4.0)
    (tmp_path / "other.yaml").write_text("data: x\nmethod: {kind: pivotal, vectors: 3}\nprior: {preserve: outputs}\n")
    assert told(Train.read([str(tmp_path / "other.yaml"), f"method={preset}"])) == (kind, "pictures", 1.0)


def test_it_is_shown_and_written_spelled_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "photos", "method=dreambooth-lora", "rank=4", "--show"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["method"]["kind"], shown["method"]["rank"], shown["prior"]["preserve"]) == ("lora", 4, "pictures")
    config = read("method=dreambooth-lora", "rank=4")
    config.write(tmp_path / "config.yaml")
    assert Train.read([str(tmp_path / "config.yaml")]) == config
    row = next(row for row in explain_fields(Train) if row.path == "method")
    assert {"dreambooth", "dreambooth-lora", "full", "lora"} <= {*row.values}


def test_a_misspelt_preset_and_two_at_once_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown kind 'dreambooth_lora'; did you mean 'dreambooth-lora'"):
        read("method=dreambooth_lora")
    with pytest.raises(SettingsError, match="unknown kind 'dreamboth'; did you mean 'dreambooth'"):
        Train.from_tree({"data": "x", "method": "dreamboth"})
    with pytest.raises(SettingsError, match="given twice"):
        read("method=dreambooth", "method=lora")
    with pytest.raises(SettingsError, match="it belongs to method="):
        read("method=dreambooth", "rank=4")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["method=dreambooth"], r"prior.prompt: what class is it that you teach\? Give prior.prompt='a photo of a dog'"),
        (["--with_prior_preservation"], "prior.prompt: what class is it"),
        (["--class_prompt=a zwx disc", "trigger=zwx"], "prior.prompt: 'a zwx disc' holds zwx, which is to be learned"),
        (["--class_prompt=a disc", "trigger=zwx", "method=textual_inversion"], "prior.prompt: .* leaves every prompt without the trigger"),
        (["--instance_prompt=a photo of sks", "trigger=zwx"], "has no {trigger}"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_loaded(
    given: list[str], problem: str, photos: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=problem):
        check(Train.read([f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", *given]))


def test_the_scripts_command_line_runs_as_it_is(photos: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the class are drawn once, exactly as many as are asked for, in no folder of the user's; and told apart in the log."""
    drawn: list[int] = []
    real = drawing._run

    def counting(bundle: Any, requests: Any, **how: Any) -> Any:
        drawn.extend(request.seed for request in requests)
        return real(bundle, requests, **how)

    monkeypatch.setattr(drawing, "_run", counting)
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "cache"))
    out, classes = tmp_path / "run", tmp_path / "classes"
    line = shlex.split(SCRIPT.format(base=tiny_sd, photos=photos, classes=classes, out=out).replace("\n", " "))
    assert run(["train", *line, "samples.every=0", "samples.num_steps=1"]) == 0
    assert not classes.exists()
    latents = [seed for seed in drawn if seed < 5]
    assert sorted(latents) == [0, 1, 2, 3, 4]
    steps = events(out, "Stepped")
    assert len(steps) == 3
    assert all(step["prior_loss"] > 1e-3 for step in steps)  # the pictures' noise, which the base does not foretell
    assert [step["own_loss"] + step["prior_loss"] for step in steps] == pytest.approx([step["loss"] for step in steps])
    stored = yaml.safe_load((out / "config.yaml").read_text())
    resolved = {"prompt": "a photo of disc", "preserve": "pictures", "num": 5, "weight": 0.7, "data": None}
    assert stored["prior"] == {**stored["prior"], **resolved}
    assert stored["images"]["template"] == "a photo of sks disc"
    drawn.clear()
    assert run(["train", str(out / "config.yaml"), f"out={tmp_path / 'again'}"]) == 0
    assert not [seed for seed in drawn if seed < 5]
    one, two = (load_file(place / "pytorch_lora_weights.safetensors") for place in (out, tmp_path / "again"))
    assert len(one) > 10
    assert all(bool((tensor == two[name]).all()) for name, tensor in one.items())
