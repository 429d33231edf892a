"""DiT (Peebles & Xie 2023): a transformer on the latents of an autoencoder, told a class."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.errors import BadBase
from aquatint.families import _wordless
from aquatint.families._sources import beside, load_pipeline, resolve

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"DiTPipeline": "classes"}
FILE_PARTS: dict[str, str] = {}
MARKS: tuple[str, ...] = ()
pixel_multiple = 8
lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
convolution_targets = ("pos_embed.proj",)
text_parts: tuple[str, ...] = ()
no_own_word = "it reads no text"
text_targets: tuple[str, ...] = ()
NULL_CLASS = 1000
"""What the stock pipeline says for "no class", however many classes there are."""

num_windows, cut_off, words = _wordless.num_windows, _wordless.cut_off, _wordless.words
drawn_latents = _wordless.drawn_latents


def load(source: str | Path) -> Bundle:
    pipeline = load_pipeline(source, PIPELINES)
    index = beside(resolve(source), "model_index.json")
    named = json.loads(index.read_text(encoding="utf-8")).get("id2label") if index else None
    if named:
        pipeline.register_to_config(id2label=named)  # the stock pipeline reads the names, and leaves them out when it saves
    return _bundle(pipeline, named=named or {})


def tiny(told=None) -> Bundle:
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=1, sample_size=8, norm_num_groups=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=8, sample_size=16,
    )  # fmt: skip
    return _bundle(DiTPipeline(transformer=transformer, vae=vae, scheduler=DDIMScheduler()), named={})


def encode_images(bundle, pixels_BCHW):
    from aquatint.families import _autoencoder

    return _autoencoder.encode_images(bundle, pixels_BCHW)


def decode_latents(bundle, latents_BCHW):
    from aquatint.families import _autoencoder

    return _autoencoder.decode_latents(bundle, latents_BCHW)


def encode_prompts(bundle, prompts):
    from aquatint.families import _labelled

    return _labelled.encode(bundle, prompts)


def asked(bundle, requests):
    _wordless.check(bundle, requests, is_guided=True)
    return {
        "class_labels": encode_prompts(bundle, [request.prompt for request in requests])["class_labels"].tolist(),
        "guidance_scale": requests[0].scale,
    }


def conditions(bundle, requests):
    """Guided away from the class that says "no class"."""
    import torch

    from aquatint.core.family import Conditioning, Conditions

    asked(bundle, requests)
    given, scale = encode_prompts(bundle, [request.prompt for request in requests]), requests[0].scale
    nothing = Conditioning(class_labels=torch.full_like(given["class_labels"], NULL_CLASS))
    return Conditions(given, nothing, scale) if scale > 1 else Conditions(given)


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_steps(bundle, num_steps, shape=shape)


def network(bundle, conditioning):
    index, num_channels = bundle.objective.process.index, bundle.denoiser.config.in_channels
    labels = conditioning["class_labels"]
    # the second half says the variance, which the stock pipeline does not look at
    return lambda x_t, t: bundle.denoiser(x_t, timestep=index(t), class_labels=labels, return_dict=False)[0][:, :num_channels]


def _bundle(pipeline, *, named) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._autoencoder import downscale
    from aquatint.families._schedules import variance_preserving

    transformer, config = pipeline.transformer, pipeline.transformer.config
    if config.num_embeds_ada_norm != NULL_CLASS:
        raise BadBase(f"this base knows {config.num_embeds_ada_norm} classes, and its stock pipeline can draw with {NULL_CLASS:,} alone")
    scale = downscale(pipeline.vae)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=_wordless.still(transformer),
        objective=variance_preserving(pipeline.scheduler), resolution_px=config.sample_size * scale, width=transformer.inner_dim,
        told="classes", labels=tuple(named.get(str(number), str(number)) for number in range(NULL_CLASS)), null_class=NULL_CLASS,
        side_multiple=scale * config.patch_size, is_framed=True, autoencoder=pipeline.vae,
    )  # fmt: skip
