"""Stable Diffusion XL (Podell et al. 2023): a U-Net that two text encoders speak to, and that is told the size of its picture.

The paper tells the network how large each training picture was and where it was cropped, so that cropped and enlarged pictures do
no harm. Here all three sizes are always the shown one, uncropped, as the stock pipeline says when it draws at that size: what is
trained is what is asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families import _autoencoder, _clip, _prompted
from aquatint.families._sources import load_pipeline

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"StableDiffusionXLPipeline": "text"}
FILE_PARTS = {
    "unet": "model.diffusion_model.", "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.", "text_encoder_2": "conditioner.embedders.1.",
}  # fmt: skip
MARKS = (
    "model.diffusion_model.input_blocks.", "model.diffusion_model.label_emb.", "first_stage_model.",
    "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.",
)  # fmt: skip
pixel_multiple = 8
lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
convolution_targets = ("conv1", "conv2", "conv_shortcut")
text_parts = ("text_encoder", "text_encoder_2")
no_own_word = None
text_targets = _clip.text_targets

encode_images, decode_latents = _autoencoder.encode_images, _autoencoder.decode_latents
num_windows, cut_off, words = _clip.num_windows, _clip.cut_off, _clip.words
conditions, drawn_latents = _prompted.conditions, _prompted.drawn_latents


def load(source: str | Path) -> Bundle:
    return _bundle(load_pipeline(source, PIPELINES))


def tiny(told=None) -> Bundle:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    from aquatint.families import _tiny

    (text, words), (text_2, words_2) = _tiny.clip(32), _tiny.clip(24, projected=20)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32 + 24,
        attention_head_dim=(2, 4), use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 20,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading", steps_offset=1
    )
    return _bundle(
        StableDiffusionXLPipeline(
            vae=_tiny.autoencoder(scaling_factor=0.13025), text_encoder=text, text_encoder_2=text_2, tokenizer=words, tokenizer_2=words_2,
            unet=unet, scheduler=scheduler,
        )
    )  # fmt: skip


def encode_prompts(bundle, prompts):
    """The empty prompt is zeros where the checkpoint says so: what guidance subtracts by default, so what no caption means."""
    import torch

    from aquatint.core.family import Conditioning

    seen, pooled = _clip.encodings(bundle, prompts)
    if _has_zeros(bundle):
        is_told = torch.tensor([bool(prompt) for prompt in prompts], device=seen.device)
        seen, pooled = seen * is_told[:, None, None], pooled * is_told[:, None]
    return Conditioning(prompt_embeds=seen, pooled_prompt_embeds=pooled)


def asked(bundle, requests):
    """The stock pipeline encodes an empty prompt, though not an empty negative one; here both are what `encode_prompts` says."""
    return _prompted.asked(bundle, requests, is_encoded=_has_zeros(bundle) and not all(request.prompt for request in requests))


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_steps(bundle, num_steps, shape=shape)


def network(bundle, conditioning):
    import torch

    index, scale = bundle.objective.process.index, _autoencoder.downscale(bundle.autoencoder)

    def output(x_t, t):
        size = [side * scale for side in x_t.shape[-2:]]
        sizes = torch.tensor([*size, 0, 0, *size], dtype=x_t.dtype, device=x_t.device)  # original, crop, target; heights first
        added = {"text_embeds": conditioning["pooled_prompt_embeds"], "time_ids": sizes.expand(len(x_t), -1)}
        told = {"encoder_hidden_states": conditioning["prompt_embeds"], "added_cond_kwargs": added}
        return bundle.denoiser(x_t, index(t), **told, return_dict=False)[0]

    return output


def _has_zeros(bundle) -> bool:
    return bool(bundle.pipeline.config.force_zeros_for_empty_prompt)


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._attention import use_small_attention
    from aquatint.families._schedules import variance_preserving

    use_small_attention(pipeline.unet)
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=pipeline.unet, objective=variance_preserving(pipeline.scheduler),
        resolution_px=pipeline.unet.config.sample_size * _autoencoder.downscale(pipeline.vae),
        width=max(pipeline.unet.config.block_out_channels), side_multiple=pixel_multiple, autoencoder=pipeline.vae,
        text_encoders=tuple(encoder for encoder in encoders if encoder is not None),
        reading="zeros" if pipeline.config.force_zeros_for_empty_prompt else "",
    )  # fmt: skip
