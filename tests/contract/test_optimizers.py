"""Optimizers by name: the class that is meant, a state that survives a checkpoint, and a clear word about others."""

import pytest
import torch

from aquatint.errors import BadSetting
from aquatint.methods.lora import LoRA
from aquatint.registry import families
from aquatint.training import checkpoint
from aquatint.training.optimizers import SHORT, build

SD = families["sd"]


@pytest.mark.parametrize("name", [*SHORT, "torch.optim.NAdam"])
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


def test_the_short_names_are_those_that_are_documented():
    assert set(SHORT) == {"adamw", "sgd", "adafactor"}


@pytest.mark.parametrize("name", ["adamv", "torch.optim.Nothing", "nowhere.Adam", "", "adam.w."])
def test_an_unknown_optimizer_is_refused_with_the_known_ones(name):
    with pytest.raises(BadSetting, match="no such optimizer; short names: adamw, sgd, adafactor"):
        build(name, [torch.nn.Parameter(torch.zeros(2))], lr=1.0, weight_decay=0.0)
