"""Latent diffusion (Rombach et al. 2022) as it was first: told nothing (LSUN, CelebA-HQ) or a text (LAION-400M)."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families import _wordless
from aquatint.families._sources import load_pipeline

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"LDMPipeline": "nothing", "LDMTextToImagePipeline": "text"}
FILE_PARTS: dict[str, str] = {}
MARKS: tuple[str, ...] = ()
pixel_multiple = 8
lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
convolution_targets = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out")
text_parts: tuple[str, ...] = ()
no_own_word = "its text encoder learns no words"
text_targets: tuple[str, ...] = ()
MAX_TOKENS = 77
"""The stock pipeline's own number."""

num_windows, drawn_latents = _wordless.num_windows, _wordless.drawn_latents


def load(source: str | Path) -> Bundle:
    return _bundle(load_pipeline(source, PIPELINES))


def tiny(told=None) -> Bundle:
    return _bundle(_tiny_text() if told == "text" else _tiny_wordless())


def encode_images(bundle, pixels_BCHW):
    """Of a `VQModel` what its codebook has not rounded yet: as it was trained."""
    import torch

    from aquatint.core.family import Encoded
    from aquatint.families import _autoencoder

    if type(bundle.autoencoder).__name__ != "VQModel":
        return _autoencoder.encode_images(bundle, pixels_BCHW)
    latents = bundle.autoencoder.encode(pixels_BCHW).latents * bundle.autoencoder.config.scaling_factor
    return Encoded(latents, torch.zeros_like(latents))


def decode_latents(bundle, latents_BCHW):
    return bundle.autoencoder.decode(latents_BCHW / bundle.autoencoder.config.scaling_factor).sample


def encode_prompts(bundle, prompts):
    from aquatint.core.family import Conditioning

    if bundle.told == "nothing":
        return Conditioning()
    (encoder,), how = bundle.text_encoders, {"padding": "max_length", "max_length": MAX_TOKENS, "truncation": True, "return_tensors": "pt"}
    tokens = bundle.pipeline.tokenizer(list(prompts), **how).input_ids
    return Conditioning(encoder_hidden_states=encoder(tokens.to(encoder.device))[0])


def asked(bundle, requests):
    if bundle.told == "nothing":
        return _wordless.asked(bundle, requests)
    _wordless.check(bundle, requests, is_guided=True)
    first = requests[0]
    how = {"guidance_scale": first.scale, "height": first.height_px, "width": first.width_px}
    return {**how, "prompt": [request.prompt for request in requests]}


def conditions(bundle, requests):
    """The stock pipeline guides at every scale but 1."""
    from aquatint.core.family import Conditions

    if bundle.told == "nothing":
        return _wordless.conditions(bundle, requests)
    _wordless.check(bundle, requests, is_guided=True)
    given, scale = encode_prompts(bundle, [request.prompt for request in requests]), requests[0].scale
    return Conditions(given) if scale == 1 else Conditions(given, encode_prompts(bundle, [""] * len(requests)), scale)


def cut_off(bundle, prompt):
    if bundle.told == "nothing":
        return ""
    tokenizer = bundle.pipeline.tokenizer
    return tokenizer.decode(tokenizer(prompt, verbose=False).input_ids[MAX_TOKENS - 1 : -1])


def words(bundle):
    """WordPiece numbers whole words about as they are common; what begins with ## is none."""
    if bundle.told == "nothing":
        return []
    ids = bundle.pipeline.tokenizer.get_vocab()
    return [token for token in sorted(ids, key=ids.get) if not token.startswith(("##", "["))]


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_steps(bundle, num_steps, shape=shape)


def network(bundle, conditioning):
    index, told = bundle.objective.process.index, dict(conditioning)
    return lambda x_t, t: bundle.denoiser(x_t, index(t), **told, return_dict=False)[0]


@contextmanager
def _in_float32(bundle, requests):
    """The stock pipelines make an array of what the decoder says, and there are none of bfloat16."""
    hook = bundle.autoencoder.decoder.register_forward_hook(lambda _, args, pixels: pixels.float())
    try:
        yield
    finally:
        hook.remove()


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._attention import use_small_attention
    from aquatint.families._autoencoder import downscale
    from aquatint.families._schedules import variance_preserving

    reads, config = hasattr(pipeline, "bert"), pipeline.unet.config
    if reads:
        use_small_attention(pipeline.unet)
    scale = downscale(pipeline.vqvae)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=_wordless.still(pipeline.unet),
        objective=variance_preserving(pipeline.scheduler), resolution_px=_wordless.side_of(config) * scale,
        width=max(config.block_out_channels), told="text" if reads else "nothing", side_multiple=scale if reads else 1,
        is_framed=not reads, autoencoder=pipeline.vqvae, text_encoders=(pipeline.bert,) if reads else (), while_drawing=_in_float32,
    )  # fmt: skip


def _tiny_wordless():
    from diffusers import DDIMScheduler, LDMPipeline, UNet2DModel, VQModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vqvae = VQModel(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8, num_vq_embeddings=32, scaling_factor=0.8,
    )  # fmt: skip
    return LDMPipeline(vqvae=vqvae, unet=unet, scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False))


def _tiny_text():
    """The stock pipeline counts on an autoencoder that makes sides an eighth."""
    from diffusers import AutoencoderKL, DDIMScheduler, LDMTextToImagePipeline, UNet2DConditionModel
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    from aquatint.families._tiny import bert_tokenizer

    unet = UNet2DConditionModel(
        sample_size=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=4, sample_size=32,
    )  # fmt: skip
    tokenizer = bert_tokenizer(MAX_TOKENS)
    sizes = {"encoder_layers": 1, "encoder_ffn_dim": 37, "encoder_attention_heads": 2, "head_dim": 16, "d_model": 32}
    bert = LDMBertModel(LDMBertConfig(vocab_size=len(tokenizer), **sizes))
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    return LDMTextToImagePipeline(vqvae=vae, bert=bert, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
