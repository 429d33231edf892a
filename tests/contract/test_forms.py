"""Each form of adaptation against its formula, where it begins, and which layers it is put on."""

import math

import peft
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from aquatint.methods._forms import balanced
from aquatint.methods._layers import LeanConv2d, LeanLinear
from aquatint.methods._pissa import principal
from aquatint.methods._places import ADAPTER, fits, layer_of
from aquatint.methods.lora import LoRA
from aquatint.registry import families

SD = families["sd"]
BOTH = ("to_k", "conv1", "proj_in")
"""Linear layers that are not square, and convolutions of one and of nine pixels."""


def added(update):
    return lambda layer, t, *, scale: layer.weight.flatten(1) + scale * update(t)


def product(t):
    return t["lora_B.weight"].flatten(1) @ t["lora_A.weight"].flatten(1)


def hadamard(t):
    return (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])


def dora(layer, t, *, scale):
    whole = layer.weight.flatten(1) + scale * product(t)
    return t["lora_magnitude_vector.weight"].view(-1, 1) * whole / whole.square().sum(1, keepdim=True).sqrt()


def kronecker(t):
    """Every number of the first factor times the second, a block each; the second has the kernel's pixels last."""
    first, second = t["lokr_w1"], t["lokr_w2"] if "lokr_w2" in t else t["lokr_w2_a"] @ t["lokr_w2_b"]
    second = second.reshape(len(second), -1, t["kernel"])
    return torch.cat([torch.cat([number * second for number in row], dim=1) for row in first]).flatten(1)


def turned(layer, t, *, scale):
    """W R' with R = (I - Q) / (I + Q) in blocks, Q antisymmetric."""
    weight, side = layer.weight.flatten(1), 8
    columns = []
    for block, numbers in zip(weight.split(side, dim=1), t["oft_R.weight"], strict=True):
        q = torch.zeros(side, side)
        q[tuple(torch.triu_indices(side, side, 1))] = numbers
        q = q - q.T
        rotation = (torch.eye(side) - q) @ torch.linalg.inv(torch.eye(side) + q)
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(side), rtol=0, atol=1e-6)
        columns.append(block @ rotation.T)
    return torch.cat(columns, dim=1)


FORMULAS = {
    "lora": ({"rank": 4, "alpha": 2.0, "targets": BOTH}, added(product), 2 / 4),
    "rank-stabilised": ({"rank": 4, "alpha": 3.0, "rank_stabilised": True, "targets": BOTH}, added(product), 3 / 4**0.5),
    "dora": ({"variant": "dora", "rank": 4, "alpha": 2.0, "targets": BOTH}, dora, 2 / 4),
    "loha": ({"variant": "loha", "rank": 4, "alpha": 2.0, "targets": BOTH}, added(hadamard), 2 / 4),
    "lokr": ({"variant": "lokr", "rank": 2, "alpha": 5.0, "targets": BOTH}, added(kronecker), 5 / 2),
    "lokr, whole": ({"variant": "lokr", "rank": 64, "alpha": 16.0, "targets": BOTH}, added(kronecker), 16 / 64),
    "oft": ({"variant": "oft", "rank": 8, "targets": ("to_k", "proj_in")}, turned, None),
}


@pytest.fixture
def adapted(tiny):
    """(settings) -> [(layer of PEFT's, the layer below, its trained tensors by their last names)], filled with chance."""

    def make(**settings):
        bundle = tiny("sd")
        trained = LoRA(**settings).attach(bundle, SD)
        torch.manual_seed(5)
        for parameter in trained.values():
            parameter.data += 0.1 * torch.randn_like(parameter)
        found = {}
        for name, parameter in trained.items():
            found.setdefault(layer_of(name), {})[ADAPTER.split(name, maxsplit=1)[1].replace(".default", "")] = parameter.detach()
        bundle.denoiser.eval()
        layers = [(bundle.denoiser.get_submodule(name), tensors) for name, tensors in found.items()]
        return [(layer, layer.get_base_layer(), tensors) for layer, tensors in layers]

    return make


def applied(layer, weight, *, to):
    if isinstance(layer, nn.Linear):
        return linear(to, weight, layer.bias)
    return conv2d(to, weight.view_as(layer.weight), layer.bias, layer.stride, layer.padding)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_layer_computes_its_formula(name, adapted):
    settings, formula, scale = FORMULAS[name]
    layers = adapted(**settings)
    kinds = {(type(layer).__name__, getattr(layer, "kernel_size", None)) for _, layer, _ in layers}
    assert len(kinds) == len(settings["targets"])
    for outer, inner, tensors in layers:
        x = torch.randn(3, inner.in_features) if isinstance(inner, nn.Linear) else torch.randn(2, inner.in_channels, 4, 4)
        weight = formula(inner, {**tensors, "kernel": math.prod(inner.weight.shape[2:])}, scale=scale)
        with torch.no_grad():
            torch.testing.assert_close(outer(x), applied(inner, weight, to=x), rtol=1e-4, atol=1e-5)
        assert (weight - inner.weight.flatten(1)).abs().max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"init": "pissa"}, {"convolutions": True, "ranks": {"mid_block": 2}}])
def test_plain_adapters_take_the_short_way(settings, tiny):
    bundle = tiny("sd")
    trained = LoRA(rank=4, **settings).attach(bundle, SD)
    num_lean = sum(isinstance(layer, LeanLinear | LeanConv2d) for layer in bundle.denoiser.modules())
    assert num_lean == len(trained) / 2 > 20


def moved(method):
    """How far a layer of 320 numbers is moved by ten steps of Adam at the method's own rate, towards another layer: root mean square."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(320, 320, bias=False)).requires_grad_(False)
    base, wanted, x = network[0].weight.T.clone(), torch.randn(320, 320) / 16, torch.randn(64, 320)
    names = {theirs: getattr(method, ours) for ours, theirs in method.form.names.items() if ours == "rank"}
    peft.inject_adapter_in_model(getattr(peft, method.form.config)(target_modules=["0"], **names, **method.form.fixed), network)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=method.default_lr)
    for _ in range(10):
        (network(x) - x @ wanted).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return float((network(torch.eye(320)) - base).detach().square().mean().sqrt())


@pytest.mark.parametrize("variant", ["dora", "loha", "lokr", "oft"])
def test_at_its_own_rate_every_form_moves_about_as_far(variant):
    """At rank 8 the scale is 1, for 8 is the alpha of all of PEFT's settings."""
    assert 0.25 < moved(LoRA(variant=variant, rank=8)) / moved(LoRA(rank=8)) < 4


# ---------------------------------------------------------------------------------------------- principal components


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (7, 5)])
def test_the_largest_components_are_those_of_a_whole_decomposition(shape):
    whole = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    u, s, v = torch.linalg.svd(whole, full_matrices=False)
    our_u, our_s, our_v = principal(whole, rank=4)
    torch.testing.assert_close(our_s, s[:4], rtol=1e-6, atol=0)
    torch.testing.assert_close(our_u * our_s @ our_v, u[:, :4] * s[:4] @ v[:4], rtol=1e-4, atol=1e-4)


def test_principal_components_begin_as_pefts_own_and_leave_the_outputs_as_they_were(tiny, answers):
    bundle, theirs, base = tiny("sd"), tiny("sd"), tiny("sd")
    LoRA(rank=4, alpha=2.0, init="pissa").attach(bundle, SD)
    config = peft.LoraConfig(r=4, lora_alpha=2.0, init_lora_weights="pissa", target_modules=list(SD.lora_targets))
    peft.inject_adapter_in_model(config, theirs.denoiser)
    torch.testing.assert_close(answers(bundle, "sd"), answers(base, "sd"), rtol=1e-5, atol=1e-5)
    pairs = zip(bundle.denoiser.modules(), theirs.denoiser.modules(), strict=True)
    pairs = [(ours, their) for ours, their in pairs if hasattr(ours, "start_A")]
    assert len(pairs) == 32
    for ours, their in pairs:
        torch.testing.assert_close(ours.get_delta_weight("default"), their.get_delta_weight("default"), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours.base_layer.weight, their.base_layer.weight, rtol=1e-3, atol=1e-4)


def test_principal_components_are_the_same_every_time_whatever_was_drawn_before(tiny):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        bundle = tiny("sd")
        LoRA(rank=4, init="pissa").attach(bundle, SD)
        found.append(bundle.denoiser.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("number", [1, 7, 32, 37, 96, 320, 640, 768, 1280, 2048, 3072])
def test_a_side_is_cut_as_peft_cuts_it(number):
    from peft.tuners.lokr.layer import factorization

    assert balanced(number) == factorization(number)


@pytest.mark.parametrize(
    ("pattern", "is_fit"),
    [("mid_block", True), ("attn1.to_q", True), ("mid", False), ("mid_*", True), ("*.attn1", True), ("to_q", True), ("attn1.to_k", False),
     ("mid_block.*.to_q", True), ("attentions.1", False), ("attentions.?", True), ("o_q", False)],
)  # fmt: skip
def test_patterns_are_runs_of_whole_parts(pattern, is_fit):
    assert fits(pattern, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q") is is_fit
