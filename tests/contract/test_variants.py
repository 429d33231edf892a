"""Every form of low-rank adaptation: what its layers compute, that its file gives it back, that a resume is exact."""

import copy
import json
from types import SimpleNamespace

import peft
import pytest
import torch
from peft import inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from aquatint.errors import BadSetting
from aquatint.families import _sources
from aquatint.methods.lora import FILE, FOLDER, LoRA
from aquatint.registry import families
from aquatint.training import checkpoint

SD = families["sd"]
PLACES = {"ranks": {"mid_block": 8, "encoder.layers.1": 2}}
CASES = {
    "dora": {"variant": "dora", "rank": 4, "convolutions": True, "alpha": 2.0, "dropout": 0.2},
    "rank-stabilised": {"rank": 4, "rank_stabilised": True, "alpha": 3.0, "dropout": 0.2, **PLACES},
    "pissa": {"rank": 4, "init": "pissa", "convolutions": True, "rank_stabilised": True, **PLACES},
    "pissa and dora": {"rank": 4, "init": "pissa", "variant": "dora", "alpha": 2.0},
    "loha": {"variant": "loha", "rank": 4, "alpha": 8.0, "convolutions": True, "dropout": 0.2, **PLACES},
    "lokr": {"variant": "lokr", "rank": 2, "alpha": 4.0, "convolutions": True, "dropout": 0.2, **PLACES},
    "oft": {"variant": "oft", "rank": 8, "targets": ("to_q", "to_k", "to_v", "to_out.0", "proj_in")},
    "ranks": {"rank": 4, "alpha": 2.0, "plus_ratio": 8.0, "rates": {"attn2": 0.5}, "convolutions": True, **PLACES},
}
IN_FILE = [name for name in CASES if name not in ("loha", "lokr", "oft")]
NUM_STEPS = 3
ON_ALL = [(family, form) for family in families.names() for form in ("dora", "loha", "lokr", "oft", "pissa")]


@pytest.fixture(scope="session")
def taught(tiny, make_trainer, tmp_path_factory):
    """Name of a case -> its method, the miniature after three steps, the file, and the folder of all checkpoints."""
    known = {}

    def teach(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("variants")
            method, bundle = LoRA(**CASES[name], text_encoder=True), tiny("sd")
            trainer = _trainer(make_trainer, bundle, method=method, folder=folder / "states")
            list(trainer.run())
            saved = method.save(bundle, folder / "run", facts={"modelspec.trigger_phrase": "zwx"})
            known[name] = SimpleNamespace(method=method, bundle=bundle, trainer=trainer, saved=saved, states=folder / "states")
        return known[name]

    return teach


def _trainer(make_trainer, bundle, *, method, folder):
    trainer = make_trainer(bundle, SD, method=method, folder=folder, num_steps=NUM_STEPS, lr=1e-2, ema=0.5)
    trainer.save_every, trainer.keep_checkpoints = 1, NUM_STEPS
    return trainer


def parts(bundle):
    return {"unet": bundle.denoiser, "text_encoder": bundle.text_encoders[0]}


def encoded(bundle, prompt="a disc"):
    with torch.no_grad():
        return SD.encode_prompts(bundle, [prompt])["prompt_embeds"]


@pytest.mark.parametrize("name", CASES)
def test_the_stock_loader_gives_back_what_was_trained(name, taught, tiny, answers, stock):
    run = taught(name)
    pipe = stock(run.method, "sd", saved=run.saved)
    trained, base = answers(run.bundle, "sd"), answers(tiny("sd"), "sd")
    torch.testing.assert_close(answers(run.bundle, "sd", pipe=pipe), trained, rtol=1e-5, atol=1e-5)
    assert (trained - base).abs().max() > 1e-3
    fresh = tiny("sd")
    run.method.load(fresh, run.saved)
    assert torch.equal(answers(fresh, "sd"), answers(run.bundle, "sd", pipe=pipe))
    assert (encoded(fresh) - encoded(tiny("sd"))).abs().max() > 1e-4
    torch.testing.assert_close(encoded(fresh), encoded(run.bundle.freeze()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_is_bit_equal(name, taught, tiny, make_trainer, tmp_path):
    run = taught(name)
    resumed = _trainer(make_trainer, tiny("sd"), method=run.method, folder=tmp_path)
    resumed.restore(checkpoint.load(checkpoint.directory(run.states, 1)))
    list(resumed.run())
    kept, again = (checkpoint.load(checkpoint.directory(place, NUM_STEPS)) for place in (run.states, tmp_path))
    for part in checkpoint.PARTS:
        ours, theirs = getattr(kept, part), getattr(again, part)
        assert ours.keys() == theirs.keys()
        assert len(ours) >= len(run.trainer.parameters) > 20
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), part


@pytest.mark.parametrize("name", CASES)
def test_what_is_foretold_is_what_is_trained_and_written(name, taught, base_folder):
    run = taught(name)
    shapes = _sources.shapes(str(base_folder("sd")), SD.FILE_PARTS)
    assert run.method.num_trained(shapes, SD) == sum(p.numel() for p in run.trainer.parameters.values())
    files = [file for file in run.method.files(run.saved) if file.suffix == ".safetensors"]
    assert run.method.num_written(shapes, SD) == sum(t.numel() for file in files for t in load_file(file).values())


@pytest.mark.parametrize("name", IN_FILE)
def test_tensors_alone_are_the_whole_update(name, taught, answers, stock, tmp_path):
    """Without metadata a loader takes every scale for 1, and the ranks from the shapes."""
    run = taught(name)
    save_file(load_file(run.saved), tmp_path / FILE)
    pipe = stock(LoRA(), "sd", saved=tmp_path / FILE)
    torch.testing.assert_close(answers(run.bundle, "sd", pipe=pipe), answers(run.bundle, "sd"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["loha", "lokr", "oft"])
def test_the_folder_is_one_of_pefts(name, taught, tiny, answers):
    """Read by hand: settings by PEFT's own class, tensors by their names without PEFT's prefix."""
    run, fresh = taught(name), tiny("sd")
    assert run.saved.name == FOLDER
    assert "zwx" in (run.saved / "aquatint.json").read_text()
    assert sorted(path.name for path in run.saved.iterdir()) == ["aquatint.json", "text_encoder", "unet"]
    for place, module in parts(fresh).items():
        config = peft.PeftConfig.from_pretrained(str(run.saved / place))
        assert config.peft_type.value == name.upper()
        inject_adapter_in_model(config, module)
        tensors = load_file(run.saved / place / "adapter_model.safetensors")
        stripped = {key.removeprefix("base_model.model."): tensor for key, tensor in tensors.items()}
        assert not set_peft_model_state_dict(module, stripped).unexpected_keys
    assert torch.equal(answers(fresh, "sd"), answers(run.bundle, "sd"))


def test_every_family_is_asked():
    assert len(ON_ALL) == 5 * len(families.names()) >= 5


@pytest.mark.parametrize(("family", "form"), ON_ALL)
def test_every_form_comes_back_on_every_family(family, form, tiny, answers, stock, tmp_path):
    """Filled with chance instead of trained."""
    bundle, method = tiny(family), LoRA(rank=4, **({"init": form} if form == "pissa" else {"variant": form}))
    torch.manual_seed(3)
    for parameter in method.attach(bundle, families[family]).values():
        parameter.data += 0.2 * torch.randn_like(parameter)
    pipe = stock(method, family, saved=method.save(bundle, tmp_path / "run", facts={}))
    found, base = answers(bundle, family), answers(tiny(family), family)
    torch.testing.assert_close(answers(bundle, family, pipe=pipe), found, rtol=1e-4, atol=1e-4)
    assert (found - base).abs().max() > 1e-2


def test_a_folder_with_a_number_that_is_not_finite_is_not_written(tiny, tmp_path):
    bundle, method = tiny("sd"), LoRA(variant="lokr", rank=2)
    next(iter(method.attach(bundle, SD).values())).data.view(-1)[0] = torch.inf
    with pytest.raises(FloatingPointError, match="1 tensors are not finite, first unet"):
        method.save(bundle, tmp_path / "run", facts={})
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("alpha", [None, 2.0])
def test_the_text_encoders_adapter_comes_back_to_the_bit(alpha, tiny, make_trainer, tmp_path):
    """A scale that is a power of two loses nothing when it is folded into B."""
    bundle, method, fresh = tiny("sd"), LoRA(rank=4, alpha=alpha, text_encoder=True, text_encoder_lr=1e-2), tiny("sd")
    list(make_trainer(bundle, SD, method=method, folder=tmp_path / "states", num_steps=2, lr=1e-2).run())
    method.load(fresh, method.save(bundle, tmp_path, facts={}))
    assert torch.equal(encoded(fresh), encoded(bundle.freeze()))
    assert not torch.equal(encoded(fresh), encoded(tiny("sd")))


def test_the_file_tells_the_ranks_that_it_has(taught):
    with safe_open(taught("pissa").saved, "pt") as file:
        metadata = file.metadata()
        a = file.get_tensor("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight")
    adapter = json.loads(metadata["lora_adapter_metadata"])
    assert (metadata["ss_network_dim"], adapter["unet.r"], adapter["unet.lora_alpha"], adapter["unet.use_rslora"]) == ("8", 8, 8, False)
    assert set(adapter["unet.rank_pattern"].values()) == {len(a)} == {16}
    assert adapter["unet.rank_pattern"] == adapter["unet.alpha_pattern"]
    assert all(r"^(text_model\.)?encoder.layers.1" in name for name in adapter["text_encoder.rank_pattern"])


# ---------------------------------------------------------------------------------------------- ranks and rates


def test_ranks_go_by_the_last_pattern_that_fits(tiny):
    trained = LoRA(rank=4, ranks={"mid_block": 8, "attn2.to_*": 2, "mid_block.*.to_v": 16}).attach(tiny("sd"), SD)
    found = {name.split(".lora_A")[0]: len(p) for name, p in trained.items() if ".lora_A." in name}
    for name, rank in found.items():
        inside, other = "mid_block" in name, ".attn2.to_" in name
        assert rank == (16 if inside and name.endswith("to_v") else 2 if other else 8 if inside else 4), name
    assert set(found.values()) == {2, 4, 8, 16}


def test_rates_are_factors_and_every_group_follows_the_schedule(tiny, make_trainer, tmp_path):
    settings = {"plus_ratio": 16.0, "rates": {"mid_block": 0.5, "layers.1": 2.0}, "text_encoder": True, "text_encoder_lr": 3e-5}
    trainer = make_trainer(tiny("sd"), SD, method=LoRA(rank=2, **settings), folder=tmp_path, num_steps=4, lr=1e-3)
    names = {id(p): name for name, p in trainer.parameters.items()}
    peak = {names[id(p)]: group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert peak.keys() == trainer.parameters.keys()
    for name, rate in peak.items():
        own = (3e-5 if name.startswith("text_encoder_0.") else 1e-3) * (16 if ".lora_B." in name else 1)
        assert rate == pytest.approx(own * (0.5 if ".mid_block." in name else 2.0 if ".layers.1." in name else 1.0)), name
    assert len(trainer.optimizer.param_groups) == len(set(peak.values())) == 8
    told = [event.learning_rate for event in trainer.run() if hasattr(event, "gradient_norm")]
    factors = [trainer.schedule(step) for step in range(4)]
    assert told == pytest.approx([1e-3 * factor for factor in factors])
    assert all(group["lr"] == pytest.approx(group["peak_lr"] * factors[-1]) for group in trainer.optimizer.param_groups)


def test_b_learns_faster_by_the_ratio(tiny, make_trainer, tmp_path):
    """Of plain gradient descent with rates as they are, one step is rate times gradient."""
    moved = {}
    for ratio in (None, 4.0):
        method = LoRA(rank=2, plus_ratio=ratio)
        trainer = make_trainer(tiny("sd"), SD, method=method, folder=tmp_path / str(ratio), num_steps=1, lr=1e-2, optimizer="sgd")
        before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
        list(trainer.run())
        moved[ratio] = {name: p.detach() - before[name] for name, p in trainer.parameters.items()}
    for name, step in moved[None].items():
        if ".lora_B." in name:
            assert step.abs().max() > 0
            torch.testing.assert_close(moved[4.0][name], 4 * step, rtol=1e-3, atol=1e-9)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "loha", "init": "pissa"}, "init beside variant=loha says nothing here; leave it out"),
        ({"variant": "lokr", "rank_stabilised": True, "plus_ratio": 2.0}, "rank_stabilised and plus_ratio beside variant=lokr say nothing"),
        ({"variant": "oft", "rank_stabilised": True}, "rank_stabilised beside variant=oft says nothing"),
        ({"variant": "oft", "alpha": 1.0, "dropout": 0.1, "ranks": {"mid_block": 4}}, "alpha and dropout and ranks beside variant=oft"),
        ({"text_encoder_lr": 1e-4}, "text_encoder_lr needs text_encoder=true"),
        ({"variant": "dorra"}, "'lora', 'dora', 'loha', 'lokr' or 'oft'"),
        ({"dropout": 1.0}, "less than 1"),
        ({"ranks": {"mid_block": 0}}, "greater than or equal to 1"),
        ({"rates": {"mid_block": 0.0}}, "greater than 0"),
    ],
)
def test_settings_without_meaning_are_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(ValueError, match=message):
        LoRA(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("to_qq",)}, "no layer of UNet2DConditionModel is named to_qq; did you mean 'to_q'?"),
        ({"ranks": {"mid_blok": 4}}, "method.ranks: mid_blok fits the name of no adapted layer; did you mean 'mid_block'?"),
        ({"rates": {"conv1": 0.5}}, "method.rates: conv1 fits the name of no adapted layer"),
        ({"ranks": {"mid_block": 65}}, r"method.ranks=65: 8 layers of UNet2DConditionModel are smaller, first mid_block.* at most 32"),
        ({"variant": "loha", "rank": 33}, "method.rank=33: .* layers of UNet2DConditionModel are smaller"),
        ({"variant": "oft", "rank": 8, "convolutions": True}, "are convolutions over several pixels, .* PEFT cannot rotate, first .*conv"),
        ({"variant": "oft", "rank": 12}, "are not made of whole blocks of that side, first .*; try 8"),
        ({"variant": "oft", "rank": 1}, "not made of whole blocks of that side, first .*; try 2"),
    ],
)
def test_what_fits_no_layer_is_refused_before_anything_is_attached(settings, message, tiny):
    bundle = tiny("sd")
    with pytest.raises(BadSetting, match=message):
        LoRA(**settings).check(bundle, SD)
    assert not any(hasattr(layer, "base_layer") for layer in bundle.denoiser.modules())


def test_a_base_without_text_encoder_or_convolutions_says_so(tiny):
    bundle = tiny("sd")
    bundle.family = family = SimpleNamespace(**{**vars(SD), "convolution_targets": (), "text_parts": ()})
    with pytest.raises(BadSetting) as caught:
        LoRA(rank=4, text_encoder=True, convolutions=True).check(bundle, family)
    assert "no text encoder that can be adapted" in str(caught.value)
    assert "method.convolutions: this base has none" in str(caught.value)


def test_rotating_a_convolution_of_nine_pixels_is_not_what_peft_does():
    """Why it is refused: with nothing learned yet the layer should be as before, and is not."""
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 1))
    plain, x = copy.deepcopy(network), torch.randn(1, 4, 6, 6)
    inject_adapter_in_model(peft.OFTConfig(oft_block_size=4, use_cayley_neumann=False, target_modules=["0", "1"]), network)
    assert (network[0](x) - plain[0](x)).abs().max() > 0.1
    torch.testing.assert_close(network[1](x), plain[1](x))


# ---------------------------------------------------------------------------------------------- Stable Diffusion 1.5


@pytest.fixture(scope="module")
def full_size():
    """The U-Net of Stable Diffusion 1.5 without its numbers."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    return {"unet": {name: tuple(p.shape) for name, p in unet.named_parameters()}}


WIDTHS = {320: 5, 640: 5, 1280: 6}
"""Width -> transformer blocks of it. Each has eight adapted layers, and keys and values of the second attention read 768 numbers."""
FACTORS = {320: (16, 20), 640: (20, 32), 768: (24, 32), 1280: (32, 40)}
"""The two factors nearest to the root."""


def over_layers(size):
    """The sum of size(out, in) over all adapted layers."""
    return sum(blocks * (6 * size(width, width) + 2 * size(width, 768)) for width, blocks in WIDTHS.items())


def kronecker(out, into):
    (rows, more_rows), (columns, more_columns) = FACTORS[out], FACTORS[into]
    return rows * columns + 4 * (more_rows + more_columns)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 797_184),
        ({"variant": "dora"}, over_layers(lambda out, into: 4 * (out + into) + out)),
        ({"variant": "loha"}, 2 * 797_184),
        ({"variant": "lokr"}, over_layers(kronecker)),
        ({"variant": "oft"}, over_layers(lambda out, into: into // 4 * (4 * 3 // 2))),
        ({"ranks": {"attn2": 8}}, 797_184 + 4 * sum(blocks * (4 * width + 2 * (width + 768)) for width, blocks in WIDTHS.items())),
    ],
)
def test_the_counts_at_full_size(settings, count, full_size):
    assert over_layers(lambda out, into: 1) == 128
    assert over_layers(lambda out, into: 4 * (out + into)) == 797_184
    assert LoRA(rank=4, **settings).num_trained(full_size, SD) == count
    assert LoRA(rank=4, **settings).num_written(full_size, SD) == count


def test_principal_components_double_the_file(full_size):
    method = LoRA(rank=4, init="pissa")
    assert (method.num_trained(full_size, SD), method.num_written(full_size, SD)) == (797_184, 2 * 797_184)
