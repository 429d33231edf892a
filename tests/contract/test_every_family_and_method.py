"""What holds for each case, in each form that it loads, with each method: a new file of either kind is adopted here by its name."""

import pytest
import torch
from cases import CASES, MATRIX, METHODS, REFUSED, family_of, misfit, prompts_of
from safetensors import safe_open

from aquatint.methods.base import Method
from aquatint.training import checkpoint

WITH_TEXT = [
    (case, method)
    for case, method in MATRIX
    if "text_encoder" in Method.named(method).model_fields and not misfit(case, Method.resolve({"kind": method, "text_encoder": True}))
]
FIXED = {"flux": {"prompt_embeds"}}
"""What comes from encoders that no method trains."""
LR = {"lora": 1e-2, "full": 1e-3, "textual_inversion": 1.0}

each = pytest.mark.parametrize(("case", "method"), MATRIX)
each_with_text = pytest.mark.parametrize(("case", "method"), WITH_TEXT)


@pytest.fixture
def taught(tiny, make_trainer, tmp_path):
    """(case, method, **settings) -> bundle and trainer, after three steps."""

    def teach(case, kind, **settings):
        bundle, method = tiny(case), Method.resolve({"kind": kind, **settings})
        trainer = make_trainer(bundle, family_of(case), method=method, folder=tmp_path / "states", num_steps=3, lr=LR.get(kind, 1e-3))
        return bundle, method, trainer

    return teach


def test_the_matrix_is_complete():
    print("\n".join(f"{case:12} {method}" for case, method in MATRIX))
    print("\n".join(f"{case:12} {method}: {misfit(case, Method.resolve(method))}" for case, method in REFUSED))
    assert set(CASES) == {"sd", "sdxl", "sd3", "flux", "ddpm", "ddpm-classes", "ldm", "ldm-text", "dit"}
    assert set(METHODS) == {"full", "lora", "pivotal", "textual_inversion"}
    assert (len(MATRIX), len(REFUSED)) == (22, 14)
    assert len(WITH_TEXT) == 10


@pytest.mark.parametrize("case", CASES)
def test_shapes_survive_the_round_trip(case, tiny):
    bundle, part = tiny(case), family_of(case)
    side = bundle.resolution_px
    assert side % part.pixel_multiple == 0
    assert bundle.width >= 16
    with torch.no_grad():
        width = side if bundle.is_framed else side + part.pixel_multiple
        encoded = part.encode_images(bundle, torch.zeros(2, 3, side, width))
        assert encoded.mean_BCHW.shape == encoded.std_BCHW.shape
        assert (encoded.std_BCHW >= 0).all()
        assert part.decode_latents(bundle, encoded.mean_BCHW).shape == (2, 3, side, width)
        told = part.encode_prompts(bundle, prompts_of(bundle, 2))
        assert all(len(value) == 2 for value in told.values())
        output = part.network(bundle, told)(encoded.mean_BCHW, torch.tensor([0.2, 0.9]))
    assert output.shape == encoded.mean_BCHW.shape
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("case", CASES)
def test_a_miniature_is_float32_and_no_gradient_flows_before_a_method_thaws(case, tiny):
    tensors = [p for module in tiny(case).modules for p in module.parameters()]
    assert len(tensors) > 20
    assert {p.dtype for p in tensors} == {torch.float32}
    assert not any(p.requires_grad for p in tensors)


@pytest.mark.parametrize("case", [case for case, (_, told) in CASES.items() if told == "text"])
def test_what_the_text_encoder_cannot_see_is_told(case, tiny):
    bundle = tiny(case)
    assert family_of(case).cut_off(bundle, "ab") == ""
    lost = family_of(case).cut_off(bundle, "x " * 400).split()
    assert 300 < len(lost) < 400
    assert set(lost) == {"x"}


@each
def test_a_method_trains_what_it_says_and_nothing_else(case, method, taught):
    bundle, _, trainer = taught(case, method)
    tensors = {id(t): t for module in bundle.modules for t in [*module.parameters(), *module.buffers()]}
    before = {key: t.detach().clone() for key, t in tensors.items()}
    assert {p.dtype for p in trainer.parameters.values()} == {torch.float32}
    losses = [event for event in trainer.run() if type(event).__name__ == "Stepped"]
    trained = {id(p) for p in trainer.parameters.values()}
    changed = {key for key, t in tensors.items() if not torch.equal(t, before[key])}
    assert len(losses) == 3
    assert trained == {key for key, t in tensors.items() if t.requires_grad}
    assert changed <= trained
    assert len(changed) > 0.9 * len(trained)
    assert torch.equal(torch.tensor([key in tensors for key in trained]), torch.ones(len(trained), dtype=torch.bool))


@each
def test_the_file_does_in_stock_diffusers_what_the_trained_model_does(case, method, taught, answers, stock, tiny, tmp_path):
    bundle, settings, trainer = taught(case, method)
    list(trainer.run())
    saved = settings.save(bundle, tmp_path / "run", facts={"ss_steps": "3"})
    pipe = stock(settings, case, saved=saved)
    trained = answers(bundle, case)
    torch.testing.assert_close(answers(bundle, case, pipe=pipe), trained, rtol=1e-5, atol=1e-5)
    assert (trained - answers(tiny(case), case)).abs().max() > 1e-3


@each
def test_our_own_loading_is_the_stock_loading(case, method, taught, answers, tiny, tmp_path):
    bundle, settings, trainer = taught(case, method)
    list(trainer.run())
    fresh = tiny(case)
    settings.load(fresh, settings.save(bundle, tmp_path / "run", facts={}))
    torch.testing.assert_close(answers(fresh, case), answers(bundle, case), rtol=1e-5, atol=1e-5)


@each_with_text
def test_a_trained_text_encoder_comes_back(case, method, taught, answers, stock, tiny, tmp_path):
    bundle, settings, trainer = taught(case, method, text_encoder=True)
    list(trainer.run())
    assert {int(name.split(".")[0][-1]) for name in trainer.parameters if name.startswith("text_")} == {*range(len(bundle.adaptable))}
    saved = settings.save(bundle, tmp_path / "run", facts={})
    pipe = stock(settings, case, saved=saved)
    part, prompts = family_of(case), ["a disc"]
    with torch.no_grad():
        trained, base = part.encode_prompts(bundle, prompts), part.encode_prompts(tiny(case), prompts)
    changed = {name for name in trained if (trained[name] - base[name]).abs().max() > 1e-3}
    assert changed == set(trained) - FIXED.get(case, set())
    torch.testing.assert_close(answers(bundle, case, pipe=pipe), answers(bundle, case), rtol=1e-5, atol=1e-5)


@each
@pytest.mark.parametrize("at", [1, 3])
def test_a_resumed_run_is_bit_equal(case, method, at, tiny, make_trainer, tmp_path):
    """With warm-up, accumulation and a moving average; the resumed process begins from the base again (R39)."""

    def trainer(place):
        options = {"batch_size": 1, "accumulate": 2, "ema": 0.9, "caption_dropout": 0.3}
        made = make_trainer(tiny(case), family_of(case), method=Method.resolve(method), folder=tmp_path / place, num_steps=4, **options)
        made.save_every = 1
        return made

    straight, first, resumed = trainer("straight"), trainer("resumed"), trainer("resumed")
    list(straight.run())
    events = first.run()
    while first.step < at:
        next(events)
    events.close()
    resumed.restore(checkpoint.load(checkpoint.newest(tmp_path / "resumed")))
    assert resumed.step == at
    list(resumed.run())
    kept, again = (checkpoint.load(checkpoint.directory(tmp_path / place, 4)) for place in ("straight", "resumed"))
    for part in checkpoint.PARTS:
        ours, theirs = getattr(kept, part), getattr(again, part)
        assert ours.keys() == theirs.keys()
        assert len(ours) >= len(straight.parameters)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), part


@each
def test_no_file_holds_a_number_that_is_not_finite(case, method, taught, tmp_path):
    bundle, settings, trainer = taught(case, method)
    with torch.no_grad():
        next(iter(trainer.parameters.values())).view(-1)[0] = torch.inf
    with pytest.raises(FloatingPointError, match="1 tensors are not finite"):
        settings.save(bundle, tmp_path / "run", facts={})
    assert not list((tmp_path / "run").rglob("*"))


@each
def test_the_file_says_what_it_is(case, method, taught, tmp_path):
    bundle, settings, _ = taught(case, method)
    saved = settings.save(bundle, tmp_path / "run", facts={"modelspec.trigger_phrase": "zwx"})
    if saved.is_dir():
        assert "zwx" in (saved / "aquatint.json").read_text()
        return
    with safe_open(saved, "pt") as file:
        assert file.metadata()["modelspec.trigger_phrase"] == "zwx"
