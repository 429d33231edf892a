"""What a resume is told of a base whose weights are the same and whose meaning is not, and of settings that change no step."""

from dataclasses import replace

import pytest

from aquatint.training.provenance import breaks, changes, provenance
from aquatint.training.settings import Train


@pytest.fixture
def made_of(tiny):
    """(settings, what is other about the base) -> what a run is made of."""
    bundle = tiny("ddpm-classes")

    def make(*settings, **other):
        return provenance(Train.read(["data=photos", *settings]), (), bundle=replace(bundle, **other))

    return make


def test_a_base_with_other_names_of_classes_is_another(made_of):
    before, now = made_of(), made_of(labels=("0", "2", "1"))
    assert breaks(before, made_of()) == []
    assert breaks(before, now) == ["the base model says otherwise what it predicts, how it reads, or what its classes are called"]


def test_settings_that_change_no_step_are_not_told(made_of):
    assert changes(made_of(), made_of("export=[kohya]", "min_free_gib=0.5", "checkpoints.keep=1")) == []
    assert changes(made_of(), made_of("loss.kind=huber")) == ["loss.kind=huber (was mse)"]
