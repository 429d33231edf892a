"""Bases in few bits: what is asked of diffusers, and what is refused. Nothing is quantised here: the packages are not among the tests'."""

import sys

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.core.fingerprint import fingerprint
from aquatint.errors import BadSetting
from aquatint.families._quantised import PACKAGES, loading_options, quantised
from aquatint.methods.lora import LoRA
from aquatint.registry import families


@pytest.fixture
def train(photos, tiny_sd, tmp_path):
    return lambda *how: run(["train", f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", *how])


@pytest.mark.parametrize("wanted", PACKAGES)
def test_a_package_that_is_not_here_is_named(wanted, train, monkeypatch):
    monkeypatch.setattr("aquatint.families._quantised.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=rf"quantise: {wanted} needs {PACKAGES[wanted]}; pip install 'aquatint\[quant\]'"):
        train(f"quantise={wanted}")


def test_what_does_not_go_with_it_is_told_at_once(train):
    with pytest.raises(SettingsError) as caught:
        train("quantise=nf4", "method=full", "frozen=bf16", "precision=bf16")
    told = str(caught.value)
    assert "quantise: method=full needs the base's own weights to the last bit" in told
    assert "by frozen=bf16, in bf16" in told


def test_a_single_file_is_refused(photos, tmp_path):
    (tmp_path / "base.safetensors").write_bytes(b"")
    with pytest.raises(SettingsError, match="give base= as a diffusers folder"):
        run(["train", f"data={photos}", f"base={tmp_path / 'base.safetensors'}", f"out={tmp_path / 'run'}", "quantise=int8"])


def test_nothing_is_quantised_unless_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert loading_options() == {}
    with quantised("nf4"):
        with quantised(None):
            assert loading_options() == {}
        with quantised("int8"), pytest.raises(ImportError):
            loading_options()
    assert loading_options() == {}


def test_layers_whose_weights_are_packed_are_as_large_as_they_multiply(tiny):
    """As nf4 holds them: two numbers in a byte, in one column."""
    bundle, family = tiny("sd"), families["sd"]
    for layer in bundle.denoiser.modules():
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(torch.zeros(layer.weight.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
    LoRA(rank=8).check(bundle, family)
    with pytest.raises(BadSetting, match="choose at most 32"):
        LoRA(rank=33).check(bundle, family)


def test_a_tensor_made_of_others_has_the_fingerprint_of_all_of_them():
    def of(first, second):
        layer = nn.Module()
        layer.register_buffer("weight", TwoTensor(torch.full((2, 2), first), torch.full((2, 2), second)))
        return fingerprint(layer)

    assert of(1.0, 2.0) == of(1.0, 2.0)
    assert len({of(1.0, 2.0), of(1.0, 3.0), of(2.0, 2.0)}) == 3
