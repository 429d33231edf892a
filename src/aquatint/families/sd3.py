"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): a transformer of two streams, trained on straight lines; two CLIPs and T5 read.

T5 may be missing: then zeros stand where its encodings would, as in the stock pipeline.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families import _autoencoder, _clip, _clip_and_t5, _prompted
from aquatint.families._sources import header, load_pipeline, resolve

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"StableDiffusion3Pipeline": "text"}
FILE_PARTS = {
    "transformer": "model.diffusion_model.", "vae": "first_stage_model.",
    "text_encoder": "text_encoders.clip_l.", "text_encoder_2": "text_encoders.clip_g.", "text_encoder_3": "text_encoders.t5xxl.",
}  # fmt: skip
MARKS = ("model.diffusion_model.joint_blocks.", "first_stage_model.", "text_encoders.clip_l.", "text_encoders.clip_g.")
pixel_multiple = 16
lora_targets = _clip_and_t5.lora_targets
convolution_targets = ("pos_embed.proj",)
text_parts = ("text_encoder", "text_encoder_2")
no_own_word = "stock diffusers loads no learned word into its pipeline"
text_targets = _clip.text_targets

T5_TOKENS = 256
NUM_TIMES = 1000
"""The network's time for pure noise."""

encode_images, decode_latents = _autoencoder.encode_images, _autoencoder.decode_latents
num_windows, words = _clip_and_t5.num_windows, _clip.words
conditions, drawn_latents = _prompted.conditions, _prompted.drawn_latents


def load(source: str | Path) -> Bundle:
    missing = {"text_encoder_3": None, "tokenizer_3": None} if _lacks_t5(Path(resolve(source))) else {}
    return _bundle(load_pipeline(source, PIPELINES, **missing))


def _lacks_t5(path: Path) -> bool:
    if path.is_file():
        return not any(name.startswith(FILE_PARTS["text_encoder_3"]) for name in header(path))
    return path.is_dir() and not (path / "text_encoder_3").is_dir()


def tiny(told=None) -> Bundle:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    from aquatint.families import _tiny

    (text, words), (text_2, words_2), (text_3, words_3) = _tiny.clip(32, projected=16), _tiny.clip(24, projected=20), _tiny.t5(64)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=16 + 20, pos_embed_max_size=16,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    vae = _tiny.autoencoder(scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False)
    return _bundle(
        StableDiffusion3Pipeline(
            transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae, text_encoder=text, tokenizer=words,
            text_encoder_2=text_2, tokenizer_2=words_2, text_encoder_3=text_3, tokenizer_3=words_3,
        )
    )  # fmt: skip


def encode_prompts(bundle, prompts):
    """CLIP's encodings side by side, widened by zeros to T5's, which follow."""
    import torch
    from torch.nn.functional import pad

    from aquatint.core.family import Conditioning

    by_clip, pooled = _clip.encodings(bundle, prompts)
    width, encoder, length = bundle.denoiser.config.joint_attention_dim, bundle.pipeline.text_encoder_3, _num_t5_tokens(bundle)
    if encoder is None:
        by_t5 = by_clip.new_zeros(len(prompts), length, width)
    else:
        by_t5 = _clip_and_t5.encoding(bundle, prompts, encoder=encoder, tokenizer=bundle.pipeline.tokenizer_3, length=length)
    seen = torch.cat([pad(by_clip, (0, width - by_clip.shape[-1])), by_t5], dim=1)
    return Conditioning(prompt_embeds=seen, pooled_prompt_embeds=pooled)


def asked(bundle, requests):
    return {**_prompted.asked(bundle, requests), "max_sequence_length": _num_t5_tokens(bundle)}


def cut_off(bundle, prompt):
    """What none of the encoders sees."""
    if bundle.pipeline.text_encoder_3 is None:
        return _clip.cut_off(bundle, prompt)
    return _clip.lost(bundle, bundle.pipeline.tokenizer_3, prompt=prompt, length=_num_t5_tokens(bundle))


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_flow_steps(bundle, num_steps, shape=shape, patch=bundle.denoiser.config.patch_size, is_even=False)


def network(bundle, conditioning):
    told = {"encoder_hidden_states": conditioning["prompt_embeds"], "pooled_projections": conditioning["pooled_prompt_embeds"]}
    return lambda x_t, t: bundle.denoiser(x_t, timestep=t * NUM_TIMES, **told, return_dict=False)[0]


def _num_t5_tokens(bundle) -> int:
    return _clip_and_t5.length_of(bundle.pipeline.tokenizer_3, T5_TOKENS)


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._schedules import flow

    config, scale = pipeline.transformer.config, _autoencoder.downscale(pipeline.vae)
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3)
    _clip_and_t5.tie(pipeline.text_encoder_3)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=pipeline.transformer, objective=flow(pipeline.scheduler),
        resolution_px=config.sample_size * scale, width=config.num_attention_heads * config.attention_head_dim,
        side_multiple=pixel_multiple, autoencoder=pipeline.vae, text_encoders=tuple(encoder for encoder in encoders if encoder is not None),
        reading=f"{_clip_and_t5.length_of(pipeline.tokenizer_3, T5_TOKENS)} tokens of T5",
    )  # fmt: skip
