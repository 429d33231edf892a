"""Stable Diffusion 1 and 2 (Rombach et al. 2022): a text-conditioned U-Net on the latents of an autoencoder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families import _autoencoder, _clip, _prompted
from aquatint.families._sources import load_pipeline

if TYPE_CHECKING:  # what the names below say of the family is asked for before torch is there
    from aquatint.core.family import Bundle

PIPELINES = {"StableDiffusionPipeline": "text"}
FILE_PARTS = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
MARKS = ("model.diffusion_model.input_blocks.", "first_stage_model.", "cond_stage_model.")
pixel_multiple = 8
lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
convolution_targets = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out")
text_parts = ("text_encoder",)
no_own_word = None
text_targets = _clip.text_targets

encode_images, decode_latents = _autoencoder.encode_images, _autoencoder.decode_latents
num_windows, cut_off, words = _clip.num_windows, _clip.cut_off, _clip.words
asked, conditions, drawn_latents = _prompted.asked, _prompted.conditions, _prompted.drawn_latents


def load(source: str | Path) -> Bundle:
    return _bundle(load_pipeline(source, PIPELINES, requires_safety_checker=False))


def tiny(told=None) -> Bundle:
    from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    from aquatint.families import _tiny

    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = _tiny.autoencoder()
    text, words = _tiny.clip(32)
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return _bundle(StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=words, unet=unet, scheduler=scheduler, **parts))


def encode_prompts(bundle, prompts):
    from aquatint.core.family import Conditioning

    encoder = bundle.text_encoders[0]
    tokens = _clip.tokens(bundle, bundle.pipeline.tokenizer, texts=_clip.texts(bundle, prompts))
    mask = tokens.attention_mask.to(encoder.device) if getattr(encoder.config, "use_attention_mask", None) else None
    seen = encoder(tokens.input_ids.to(encoder.device), attention_mask=mask)[0]
    return Conditioning(prompt_embeds=seen.reshape(len(prompts), -1, seen.shape[-1]))


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_steps(bundle, num_steps, shape=shape)


def network(bundle, conditioning):
    index = bundle.objective.process.index
    return lambda x_t, t: bundle.denoiser(x_t, index(t), encoder_hidden_states=conditioning["prompt_embeds"], return_dict=False)[0]


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._attention import use_small_attention
    from aquatint.families._schedules import variance_preserving

    use_small_attention(pipeline.unet)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=pipeline.unet, objective=variance_preserving(pipeline.scheduler),
        resolution_px=pipeline.unet.config.sample_size * _autoencoder.downscale(pipeline.vae),
        width=max(pipeline.unet.config.block_out_channels), side_multiple=pixel_multiple, autoencoder=pipeline.vae,
        text_encoders=(pipeline.text_encoder,),
    )  # fmt: skip
