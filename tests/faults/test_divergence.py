"""Losses and weights that are not finite: steps are skipped, then the run ends, and no file ever holds such a number (R31)."""

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from aquatint.errors import Diverged
from aquatint.methods.lora import LoRA
from aquatint.registry import families
from aquatint.training import checkpoint
from aquatint.training.checkpoint import NotFinite
from aquatint.training.events import Saved, Skipped, Stepped

SD = families["sd"]


@pytest.fixture
def trainer(make_trainer, tmp_path):
    """A run of eight steps whose loss is NaN at the steps in `bad`."""

    def make(bad=(), num_steps=8, **how):
        torch.manual_seed(2)
        made = make_trainer(SD.tiny(), SD, method=LoRA(rank=2), folder=tmp_path / "states", num_steps=num_steps, **how)
        made.save_every = 1

        def spoil(*hooked):
            _, inputs, losses = hooked
            return losses * torch.nan if inputs[1].step in bad else losses

        made.loss_module.register_forward_hook(spoil)
        return made

    return make


def test_a_step_that_is_not_finite_is_skipped_and_changes_nothing(trainer):
    made, seen = trainer(bad={2, 5}), {}
    for event in made.run():
        if isinstance(event, Stepped | Skipped):
            seen[event.step] = event, {name: p.detach().clone() for name, p in made.parameters.items()}
    assert [step for step, (event, _) in seen.items() if isinstance(event, Skipped)] == [3, 6]
    for step in (3, 6):
        assert math.isnan(seen[step][0].loss)
        assert all(torch.equal(seen[step][1][name], seen[step - 1][1][name]) for name in made.parameters)
        assert any(not torch.equal(seen[step + 1][1][name], seen[step][1][name]) for name in made.parameters)
    assert made.step == 8


@pytest.mark.parametrize("bad", [{3, 4, 5}, {1, 3, 5}])
def test_three_of_the_last_200_end_the_run_with_the_good_state_kept(bad, trainer, tmp_path):
    events = []
    with pytest.raises(Diverged, match=r"at step 6 \(images: .*png.*; precision torch.float32\)") as caught:
        events.extend(trainer(bad=bad).run())  # what came before the error stays in the list
    assert caught.value.exit_code == 3
    newest = checkpoint.load(checkpoint.newest(tmp_path / "states"))
    assert newest.step == max(event.step for event in events if isinstance(event, Saved)) == max(set(range(6)) - bad) + 1
    assert all(torch.isfinite(tensor).all() for tensor in newest.trained.values())


def test_weights_that_overflow_are_not_saved(trainer, tmp_path):
    """The loss of the step was finite and its update was not."""
    made = trainer(optimizer="sgd")
    events = made.run()
    while made.step < 2:
        next(events)
    made.optimizer.param_groups[0]["peak_lr"] = math.inf
    with pytest.raises(NotFinite, match="the last good checkpoint is kept") as caught:
        list(events)
    assert caught.value.exit_code == 3
    assert checkpoint.newest(tmp_path / "states").name == "step_0000002"


def whole_and_finite(run):
    files = [path for path in run.rglob("*.safetensors") if ".writing" not in str(path)]
    assert not [path for path in files for tensor in load_file(path).values() if not torch.isfinite(tensor).all()]
    return files


def test_a_learning_rate_that_explodes_ends_with_3_and_keeps_its_checkpoint(aquatint, tiny_sd, photos, settings, tmp_path):
    run = tmp_path / "run"
    wild = {"lr": "lr=1e30", "checkpoints.every": "checkpoints.every=1", "optimizer.warmup_steps": "optimizer.warmup_steps=0"}
    changed = [wild.get(setting.partition("=")[0], setting) for setting in settings]
    child = aquatint("train", f"data={photos}", f"base={tiny_sd}", f"out={run}", *changed)
    assert child.wait() == 3, child.text()
    assert "not finite" in child.text()
    assert "learning rate is too high" in child.text()
    assert "Traceback" not in child.text()
    assert not (run / "pytorch_lora_weights.safetensors").exists()
    whole_and_finite(run)
    assert checkpoint.newest(run / "checkpoints") is not None


def test_a_base_with_a_number_that_is_not_finite_trains_nothing(aquatint, tiny_sd, photos, settings, tmp_path):
    base, run = shutil.copytree(tiny_sd, tmp_path / "base"), tmp_path / "run"
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"][0, 0, 0, 0] = torch.inf
    save_file(tensors, file)
    child = aquatint("train", f"data={photos}", f"base={base}", f"out={run}", *settings)
    assert child.wait() == 3, child.text()
    assert "not finite" in child.text()
    assert "step 1 skipped" in child.text()
    assert not whole_and_finite(run)
