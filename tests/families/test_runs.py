"""What a run makes of a family's nature."""

import pytest

from aquatint.config import SettingsError
from aquatint.core.weightings import MinSNR, even
from aquatint.training.preflight import check
from aquatint.training.session import Session
from aquatint.training.settings import Train


@pytest.fixture
def settings(miniature, photos, tmp_path):
    """(family, more) -> settings of a run on its miniature, which it has to recognise."""

    def make(name, *more):
        miniature(name).pipeline.save_pretrained(tmp_path / name)
        return Train.read([f"data={photos}", f"base={tmp_path / name}", f"out={tmp_path / 'run'}", "cpu=true", *more])

    return make


@pytest.mark.parametrize(("name", "is_weighted"), [("sdxl", True), ("sd3", False), ("flux", False)])
def test_min_snr_weighs_no_flow(name, is_weighted, settings):
    config = settings(name)
    session = Session(config, check(config))
    assert session.family.__name__.endswith(f".{name}")
    assert session.bundle.objective.weighting == (MinSNR(5.0) if is_weighted else even)


def test_convolutions_that_there_are_none_of_are_refused(settings):
    with pytest.raises(SettingsError, match=r"it has no convolutions; leave method\.convolutions out"):
        check(settings("flux", "method.convolutions=true"))
    check(settings("sd3", "method.convolutions=true"))


@pytest.mark.parametrize(("name", "multiple"), [("sdxl", 8), ("sd3", 16), ("flux", 16)])
def test_sides_that_cannot_be_cut_into_patches_are_refused(name, multiple, settings):
    with pytest.raises(SettingsError, match=rf"20 is not a multiple of {multiple}, as this family's networks need"):
        check(settings(name, "resolution=20"))
