"""Optimizers by name: the class that is meant, a state that survives a checkpoint, and a clear word about others."""

import sys

import pytest
import torch

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.errors import BadSetting
from aquatint.methods.lora import LoRA
from aquatint.registry import families
from aquatint.training import checkpoint
from aquatint.training.optimizers import SHORT, build
from aquatint.training.settings import Optimizer, Train

SD = families["sd"]


HERE = [name for name in SHORT if name not in ("adamw8bit", "prodigy", "schedule_free")]


class Averaging(torch.optim.Optimizer):
    """Schedule-free SGD (Defazio et al. 2024, eq. 3 to 5): z steps, x is its average, gradients are taken between the two.

    What it counts it keeps as plain numbers, in its groups and beside its tensors.
    """

    def __init__(self, params, lr, beta=0.9, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay, "k": 0, "weights": 0.0, "train_mode": False})

    def _move(self, is_training):
        for group in self.param_groups:
            for p in group["params"] if group["train_mode"] != is_training else ():
                if "z" in self.state[p]:
                    p.data.lerp_(self.state[p]["z"], 1 - group["beta"] if is_training else 1 - 1 / group["beta"])
            group["train_mode"] = is_training

    def train(self):
        self._move(True)

    def eval(self):
        self._move(False)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            assert group["train_mode"]
            group["k"] += 1
            group["weights"] += group["lr"] ** 2
            share = group["lr"] ** 2 / group["weights"]
            for p in group["params"]:
                state = self.state[p]
                z = state.setdefault("z", p.detach().clone())
                state["seen"] = state.get("seen", 0) + 1
                p.lerp_(z, 1 - 1 / group["beta"])  # to x
                z.sub_(p.grad, alpha=group["lr"])
                p.lerp_(z, share)
                p.lerp_(z, 1 - group["beta"])  # to y


@pytest.mark.parametrize("name", [*HERE, "torch.optim.NAdam", f"{__name__}.Averaging"])
def test_a_resumed_optimizer_goes_on_bit_for_bit(name, tiny, make_trainer, tmp_path):
    def trainer(place):
        made = make_trainer(tiny("sd"), SD, method=LoRA(rank=2), folder=tmp_path / place, num_steps=4, optimizer=name)
        made.save_every = 1
        return made

    straight, first, resumed = trainer("straight"), trainer("resumed"), trainer("resumed")
    list(straight.run())
    events = first.run()
    while first.step < 2:
        next(events)
    events.close()
    resumed.restore(checkpoint.load(checkpoint.newest(tmp_path / "resumed")))
    list(resumed.run())
    kept, again = (checkpoint.load(checkpoint.newest(tmp_path / place)) for place in ("straight", "resumed"))
    assert kept.step == again.step == 4
    assert kept.optimizer.keys() == again.optimizer.keys()
    assert all(torch.equal(kept.trained[n], again.trained[n]) for n in kept.trained)
    assert all(torch.equal(kept.optimizer[n], again.optimizer[n]) for n in kept.optimizer)


def test_plain_numbers_of_an_optimizer_are_state_too(tiny, make_trainer, tmp_path):
    how = {"method": LoRA(rank=2), "num_steps": 3, "optimizer": f"{__name__}.Averaging"}
    trainer = make_trainer(tiny("sd"), SD, folder=tmp_path / "one", **how)
    list(trainer.run())
    group, numbers = trainer.optimizer.param_groups[0], checkpoint.load(checkpoint.newest(tmp_path / "one"))
    counted = {name for name in numbers.optimizer if name.startswith("group 0/")}
    assert counted == {f"group 0/{n}:number" for n in ("k", "weights", "train_mode")}
    fresh = make_trainer(tiny("sd"), SD, folder=tmp_path / "two", **how)
    fresh.restore(numbers)
    again = fresh.optimizer.param_groups[0]
    assert [(again[n], type(again[n])) for n in ("k", "weights", "train_mode")] == [(3, int), (group["weights"], float), (True, bool)]
    assert {type(slots["seen"]) for slots in fresh.optimizer.state.values()} == {int}


def test_what_is_drawn_with_is_the_optimizer_s_average(tiny, make_trainer, tmp_path):
    trainer = make_trainer(tiny("sd"), SD, method=LoRA(rank=2), num_steps=3, folder=tmp_path, optimizer=f"{__name__}.Averaging")
    list(trainer.run())
    parameter = next(p for name, p in trainer.parameters.items() if "lora_B" in name)
    y, z = parameter.detach().clone(), trainer.optimizer.state[parameter]["z"].clone()
    with trainer.averaged():
        torch.testing.assert_close(0.9 * parameter + 0.1 * z, y)
        assert not torch.equal(parameter, y)
    torch.testing.assert_close(parameter.detach(), y)


def test_lion_is_its_algorithm():
    """Chen et al. 2023, algorithm 2, number by number."""
    values, gradients = [0.5, -1.5, 2.0], [[0.3, -0.1, 0.0], [-2.0, -0.2, 0.4], [0.1, 3.0, -0.5]]
    parameter = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    optimizer = build("lion", [{"params": [parameter]}], lr=0.1, weight_decay=0.5)
    averages = [0.0, 0.0, 0.0]
    for row in gradients:
        parameter.grad = torch.tensor(row, dtype=torch.float64)
        optimizer.step()
        for i, gradient in enumerate(row):
            direction = 0.9 * averages[i] + 0.1 * gradient
            sign = (direction > 0) - (direction < 0)
            values[i] -= 0.1 * (sign + 0.5 * values[i])
            averages[i] = 0.99 * averages[i] + 0.01 * gradient
        assert parameter.tolist() == pytest.approx(values, rel=1e-12)
    assert set(optimizer.state[parameter]) == {"average"}


@pytest.mark.parametrize(("name", "extra"), [("adamw8bit", "quant"), ("prodigy", "optim"), ("schedule_free", "optim")])
def test_a_package_that_is_not_here_is_named(name, extra, photos, tiny_sd, tmp_path, monkeypatch):
    for package in ("bitsandbytes", "prodigyopt", "schedulefree"):
        monkeypatch.setitem(sys.modules, package, None)
    line = ["train", f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", "optimizer.schedule=constant"]
    with pytest.raises(SettingsError, match=rf"optimizer.name: {name} needs \w+; pip install 'aquatint\[{extra}\]'"):
        run([*line, f"optimizer.name={name}"])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (["optimizer.name=prodigy", "method=pivotal", "trigger=disc"], "finds one rate for all, and this method=pivotal has several"),
        (["optimizer.name=prodigy", "method.plus_ratio=16"], "finds one rate for all, and this method=lora has several"),
        (["optimizer.name=prodigy", "method.rates={mid_block: 0.5}"], "finds one rate for all, and this method=lora has several"),
        (["optimizer.name=prodigy", "method=class_conditional"], "and this method=class_conditional has several"),
        (["optimizer.name=schedule_free", "optimizer.schedule=constant", "ema=0.9"], "keeps an average of its own"),
        (["optimizer.name=schedule_free"], "say optimizer.schedule=constant"),
        (["optimizer.num_cycles=2"], "say optimizer.schedule=cosine_with_restarts"),
        (["optimizer.power=2"], "say optimizer.schedule=polynomial"),
        (["optimizer.name=lyon"], "lyon is no optimizer; short names are adamw"),
    ],
)
def test_settings_that_do_not_go_together_are_told_before_anything_is_loaded(how, why, photos, tiny_sd, tmp_path):
    with pytest.raises(SettingsError, match=why):
        run(["train", f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", *how])


@pytest.mark.parametrize(
    ("name", "how"), [("torch.optim.Rprop", {"weight_decay": 0.1}), ("adamw", {"weight_decay": 0, "options": {"beta": 1}})]
)
def test_what_a_class_does_not_take_is_told(name, how):
    with pytest.raises(BadSetting, match=f"{name} does not take these settings"):
        build(name, [{"params": [torch.nn.Parameter(torch.zeros(2))]}], lr=1.0, **how)


def test_further_arguments_and_the_usual_decay():
    parameter = torch.nn.Parameter(torch.zeros(2))
    assert build("adamw", [{"params": [parameter]}], lr=1.0, weight_decay=None).defaults["weight_decay"] == 0.01
    assert "weight_decay" not in build("torch.optim.Rprop", [{"params": [parameter]}], lr=1.0, weight_decay=None).defaults
    options = Train.read(["data=x", "optimizer.options.betas=[0.5,0.6]", "--use_8bit_adam"]).optimizer
    assert options.name == "adamw8bit"
    assert build("lion", [{"params": [parameter]}], lr=1.0, weight_decay=0.0, options=options.options).defaults["betas"] == (0.5, 0.6)


def test_the_short_names_are_those_that_are_documented():
    assert all(f"`{name}`" in (Optimizer.model_fields["name"].description or "") for name in SHORT)
    assert len(SHORT) == 7


@pytest.mark.parametrize("name", ["adamv", "nowhere.Adam", "", "adam.w."])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(name):
    with pytest.raises(BadSetting, match="is no optimizer; short names are adamw, sgd, adafactor, lion"):
        build(name, [torch.nn.Parameter(torch.zeros(2))], lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize("name", ["torch.optim.Nothing", "os.path.join", "torch.nn.Linear"])
def test_a_path_that_leads_to_none_is_refused(name):
    with pytest.raises(BadSetting, match="there is no such optimizer"):
        build(name, [torch.nn.Parameter(torch.zeros(2))], lr=1.0, weight_decay=0.0)
