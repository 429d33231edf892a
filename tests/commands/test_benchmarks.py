"""The command lines that the comparison with diffusers' script runs are ones that are understood; it is not run here."""

import sys
from pathlib import Path

import pytest

from aquatint.training.settings import Train


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import against_diffusers

    yield against_diffusers
    for name in ("against_diffusers", "record", "transforms_stand_in", "pictures", "timing"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("words", "ours", "theirs"),
    [([], "auto", "no"), (["--precision", "fp32"], "fp32", "no"), (["--precision=bf16"], "bf16", "bf16")],
)
def test_each_tool_gets_its_precision(words, ours, theirs, comparison, tmp_path):
    arguments = comparison._arguments(["script.py", *words])
    assert Train.read(comparison._ours(arguments, folder=tmp_path, data=tmp_path / "data")).precision == ours
    assert f"--mixed_precision={theirs}" in comparison._theirs(arguments, folder=tmp_path, data=tmp_path / "data")
