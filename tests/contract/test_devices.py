"""Where the parts of a model are: frozen encoders leave the training device, and are back for whoever needs them."""

import pytest
import torch
from cases import CASES, MATRIX, family_of, misfit
from torch._lazy import ts_backend

from aquatint.core.request import Request
from aquatint.evaluation import proof
from aquatint.generation.drawing import draw
from aquatint.methods.base import Method
from aquatint.training.results import in_place_of

WITH_TEXT = [
    (case, method)
    for case, method in MATRIX
    if "text_encoder" in Method.named(method).model_fields and not misfit(case, Method.resolve({"kind": method, "text_encoder": True}))
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="session")
def other_device():
    """A second device with memory of its own that every machine has: PyTorch's lazy one, enough for encoders."""
    ts_backend.init()
    return torch.device("lazy", 0)


def places(bundle):
    return [{tensor.device.type for tensor in (*module.parameters(), *module.buffers())} for module in bundle.modules]


def encoded(bundle):
    side = bundle.resolution_px
    pixels = torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side).to(bundle.device)
    with torch.no_grad():
        mean = bundle.family.encode_images(bundle, pixels).mean_BCHW
        return [mean.cpu(), *(value.cpu() for value in bundle.family.encode_prompts(bundle, [proof.question(bundle, "disc")]).values())]


@pytest.mark.parametrize("case", CASES)
def test_frozen_encoders_rest_and_come_back(case, tiny, other_device):
    assert CASES
    bundle, expected = tiny(case), encoded(tiny(case))
    bundle.to(other_device)
    num_encoders = len(bundle.modules) - 1
    assert num_encoders >= 1 or bundle.told != "text"
    bundle.rest()
    assert places(bundle) == [{"lazy"}] + [{"cpu"}] * num_encoders
    with bundle.gathered():
        assert places(bundle) == [{"lazy"}] * (1 + num_encoders)
        for ours, theirs in zip(encoded(bundle), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert places(bundle) == [{"lazy"}] + [{"cpu"}] * num_encoders


@pytest.mark.parametrize(("case", "method"), WITH_TEXT)
def test_a_trained_encoder_stays(case, method, tiny, other_device):
    assert len(WITH_TEXT) >= 2
    bundle = tiny(case)
    trained = Method.resolve({"kind": method, "text_encoder": True}).attach(bundle, family_of(case), trigger="disc")
    bundle.to(other_device)
    bundle.rest()
    assert any(name.startswith("text_encoder_0.") for name in trained)
    assert [p == {"lazy"} for p in places(bundle)] == [any(p.requires_grad for p in m.parameters()) for m in bundle.modules]
    num_fixed = len(bundle.text_encoders) - len(bundle.adaptable)
    assert places(bundle).count({"cpu"}) == 1 + num_fixed  # the autoencoder, and what cannot be trained
    told = family_of(case).encode_prompts(bundle, ["a disc"])
    assert {value.device.type for value in told.values()} == {"lazy"}  # where the denoiser is, wherever they were read


@pytest.mark.parametrize("case", CASES)
def test_on_the_cpu_alone_nothing_is_copied(case, tiny):
    bundle = tiny(case)
    before = [(tensor, tensor.data_ptr()) for module in bundle.modules for tensor in module.parameters()]
    bundle.rest()
    with bundle.gathered():
        assert places(bundle) == [{"cpu"}] * len(bundle.modules)
    after = [(tensor, tensor.data_ptr()) for module in bundle.modules for tensor in module.parameters()]
    assert len(before) > 20
    assert all(ours is theirs and place == still for (ours, place), (theirs, still) in zip(before, after, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_trained_model_makes_room_for_the_fresh_one(case, tiny, other_device):
    """So that a run which just fitted does not fail at its proof."""
    bundle = tiny(case).to(other_device)
    bundle.rest()
    seen = []

    def load():
        seen.append(places(bundle))
        return tiny(case)

    fresh = in_place_of(bundle, load=load)
    assert seen == [[{"cpu"}] * len(bundle.modules)]
    assert places(fresh) == [{"lazy"}] * len(bundle.modules)


@needs_cuda
@pytest.mark.parametrize("case", CASES)
def test_who_draws_or_proves_calls_the_encoders_back(case, tiny):
    bundle, answer = tiny(case), proof.outputs(tiny(case), family_of(case))
    bundle.to("cuda")
    before = torch.cuda.memory_allocated()
    bundle.rest()
    rested = torch.cuda.memory_allocated()
    assert rested < before
    torch.testing.assert_close(proof.outputs(bundle, family_of(case)), answer, rtol=1e-2, atol=1e-3)
    assert len(list(draw(bundle, [Request("a disc", 1, num_steps=2)]))) == 1
    assert places(bundle)[1:] == [{"cpu"}] * (len(bundle.modules) - 1)
    assert torch.cuda.memory_allocated() == rested
