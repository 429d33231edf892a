"""How several text encoders are read: against the stock pipelines, and what the empty prompt, long prompts and a missing encoder mean."""

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from aquatint.core.request import Request
from aquatint.data.cache import TensorCache
from aquatint.data.settings import Images
from aquatint.families import flux, sd3, sdxl
from aquatint.generation.drawing import draw_latents
from aquatint.training.encoding import Encoding

PROMPTS = ["a disc", "two red foxes on an old sea"]
LONG = "red disc, on a sea, by the old mill"
BY_HAND = ["red disc,", "on a sea,", "by the old mill"]


@pytest.fixture
def xl(miniature):
    return replace(miniature("sdxl"))


@pytest.fixture
def plain(xl):
    """The same checkpoint without zeros for the empty prompt."""
    parts = xl.pipeline.components
    return sdxl._bundle(StableDiffusionXLPipeline(**parts, force_zeros_for_empty_prompt=False))


@pytest.fixture
def without_t5(miniature):
    pipeline = miniature("sd3").pipeline
    return sd3._bundle(type(pipeline)(**{**pipeline.components, "text_encoder_3": None, "tokenizer_3": None}))


def encoded(bundle, prompts):
    with torch.no_grad():
        return bundle.family.encode_prompts(bundle, prompts)


def stock(bundle, prompts):
    """(encodings, pooled) by the pipeline itself."""
    how = {
        flux: {"max_sequence_length": 32},
        sdxl: {"do_classifier_free_guidance": False},
        sd3: {"do_classifier_free_guidance": False, "prompt_2": None, "prompt_3": None, "max_sequence_length": sd3_length(bundle)},
    }[bundle.family]
    with torch.no_grad():
        told = bundle.pipeline.encode_prompt(prompts, **how)
    return told[:2] if bundle.family is flux else (told[0], told[2])


def sd3_length(bundle):
    return 32 if len(bundle.text_encoders) == 3 else 256


@pytest.mark.parametrize("name", ["flux", "sd3", "sdxl"])
def test_prompts_are_read_as_the_stock_pipeline_reads_them(name, miniature):
    bundle = miniature(name)
    found, (seen, pooled) = encoded(bundle, PROMPTS), stock(bundle, PROMPTS)
    assert (found["prompt_embeds"][0] - found["prompt_embeds"][1]).abs().max() > 0.1
    torch.testing.assert_close(found["prompt_embeds"], seen)
    torch.testing.assert_close(found["pooled_prompt_embeds"], pooled)


def test_sdxls_empty_prompt_is_what_its_guidance_subtracts(xl, plain):
    for bundle, is_zero in ((xl, True), (plain, False)):
        with torch.no_grad():
            _, seen, _, pooled = bundle.pipeline.encode_prompt("a disc", do_classifier_free_guidance=True, negative_prompt=None)
        found = encoded(bundle, ["", "a disc"])
        assert bool((seen == 0).all()) is is_zero
        torch.testing.assert_close(found["prompt_embeds"][:1], seen)
        torch.testing.assert_close(found["pooled_prompt_embeds"][:1], pooled)
        assert (found["prompt_embeds"][1] != 0).all()


def test_both_meanings_of_the_empty_prompt_are_kept_apart(xl, plain, tmp_path):
    cache = TensorCache(tmp_path)
    zeros, words = (Encoding(bundle, sdxl, cache, Images()).conditionings([""])[""]["prompt_embeds"] for bundle in (xl, plain))
    assert (zeros == 0).all()
    assert (words != 0).any()


def test_without_a_prompt_guidance_changes_nothing(xl, plain):
    """As after training without captions: both sides of guidance are the same."""
    for bundle, prompt, is_same in ((xl, "", True), (plain, "", True), (xl, "a disc", False)):
        low, high = (draw_latents(bundle, [Request(prompt, 3, num_steps=2, scale=scale)]) for scale in (1.5, 9.0))
        assert torch.allclose(low, high, rtol=1e-4, atol=1e-4) is is_same


def test_sdxls_windows_are_the_stock_encodings_one_after_another(xl):
    xl.windows = sdxl.num_windows(xl, LONG)
    assert xl.windows == 3
    found, parts = encoded(xl, [LONG, "a disc"]), [stock(xl, [text]) for text in BY_HAND]
    assert found["prompt_embeds"].shape == (2, 3 * 16, 32 + 24)
    torch.testing.assert_close(found["prompt_embeds"][:1], torch.cat([seen for seen, _ in parts], 1))
    torch.testing.assert_close(found["pooled_prompt_embeds"][:1], parts[0][1])
    assert sdxl.cut_off(xl, LONG) == ""
    xl.windows = 2
    assert sdxl.cut_off(xl, LONG) == "by the old mill"


def test_sdxl_draws_from_all_windows(xl):
    request = Request(LONG, 7, num_steps=2, negative="grey")
    xl.windows = 3
    drawn, (against, *_) = draw_latents(xl, [request]), [stock(xl, [text]) for text in ("grey", "", "")]
    parts, blank = [stock(xl, [text])[0] for text in BY_HAND], stock(xl, [""])[0]
    expected = xl.pipeline(
        prompt_embeds=torch.cat(parts, 1), pooled_prompt_embeds=stock(xl, [BY_HAND[0]])[1],
        negative_prompt_embeds=torch.cat([against[0], blank, blank], 1), negative_pooled_prompt_embeds=against[1],
        num_inference_steps=2, guidance_scale=request.scale, generator=torch.Generator().manual_seed(7), output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(drawn, expected)


def test_what_clip_does_not_see_t5_may(miniature, without_t5):
    """CLIP's windows hold 14 letters; T5's 31 pieces, and every word has one more than letters."""
    text = "abcdefghijklmnopqr"
    assert [miniature(name).family.cut_off(miniature(name), text) for name in ("flux", "sd3")] == ["", ""]
    assert sd3.cut_off(without_t5, text).replace(" ", "") == sdxl.cut_off(miniature("sdxl"), text).replace(" ", "") == "opqr"
    for name in ("flux", "sd3"):
        bundle = miniature(name)
        assert bundle.family.cut_off(bundle, "x" * 40) == "x" * 10
        assert bundle.family.num_windows(bundle, "x" * 400) == 1


def test_without_t5_zeros_stand_in_its_place(without_t5):
    assert len(without_t5.text_encoders) == 2
    found, (seen, pooled) = encoded(without_t5, PROMPTS), stock(without_t5, PROMPTS)
    assert found["prompt_embeds"].shape == (2, 16 + 256, 64)
    assert (found["prompt_embeds"][:, 16:] == 0).all()
    torch.testing.assert_close(found["prompt_embeds"], seen)
    torch.testing.assert_close(found["pooled_prompt_embeds"], pooled)
    drawn = draw_latents(without_t5, [Request("a disc", 1, num_steps=1)])
    assert torch.isfinite(drawn).all()


def test_a_folder_without_t5_loads(without_t5, tmp_path):
    without_t5.pipeline.save_pretrained(tmp_path / "base")
    loaded = sd3.load(tmp_path / "base").freeze()
    assert loaded.reading == without_t5.reading == "256 tokens of T5"
    torch.testing.assert_close(encoded(loaded, PROMPTS)["prompt_embeds"], encoded(without_t5, PROMPTS)["prompt_embeds"])


def test_every_layer_that_is_trained_has_a_gradient(xl):
    """Also the last one of SDXL's first encoder, which nobody reads."""
    import copy

    bundle = copy.deepcopy(xl)
    for encoder in bundle.text_encoders:
        encoder.requires_grad_(True)
    found = sdxl.encode_prompts(bundle, ["a disc"])
    sum(value.square().sum() for value in found.values()).backward()
    gradients = {name: p.grad for encoder in bundle.text_encoders for name, p in encoder.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    last = bundle.text_encoders[0].encoder.layers[1].mlp.fc1.weight.grad
    first = bundle.text_encoders[0].encoder.layers[0].mlp.fc1.weight.grad
    assert (last == 0).all()
    assert (first != 0).any()
