"""DDPM (Ho et al. 2020): a U-Net on pixels, told nothing or a class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.errors import BadBase
from aquatint.families import _wordless
from aquatint.families._labelled import is_told_class, of_source, said
from aquatint.families._sources import load_pipeline, resolve

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"DDPMPipeline": "nothing", "DDIMPipeline": "nothing"}
LABELLED = tuple(PIPELINES)
FILE_PARTS: dict[str, str] = {}
MARKS: tuple[str, ...] = ()
pixel_multiple = 1
lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
convolution_targets = ("conv1", "conv2", "conv_shortcut")
text_parts: tuple[str, ...] = ()
no_own_word = "it reads no text"
text_targets: tuple[str, ...] = ()

num_windows, cut_off, words = _wordless.num_windows, _wordless.cut_off, _wordless.words
asked, conditions, drawn_latents = _wordless.asked, _wordless.conditions, _wordless.drawn_latents


def load(source: str | Path) -> Bundle:
    pipeline = load_pipeline(source, PIPELINES)
    config = pipeline.unet.config
    if not is_told_class(config):
        return _bundle(pipeline)
    if config.class_embed_type is not None:
        raise BadBase(f"base={source}: its classes are given as {config.class_embed_type}, not as numbers of a table (num_class_embeds)")
    return _bundle(pipeline, labels=of_source(resolve(source), config.num_class_embeds))


def tiny(told=None) -> Bundle:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    labels = ("0", "1", "2") if told == "classes" else ()
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, num_class_embeds=len(labels) or None,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return _bundle(DDPMPipeline(unet=unet, scheduler=DDPMScheduler()), labels=labels)


def encode_images(bundle, pixels_BCHW):
    import torch

    from aquatint.core.family import Encoded

    is_grey = bundle.denoiser.config.in_channels == 1
    seen = pixels_BCHW.mean(1, keepdim=True) if is_grey else pixels_BCHW
    return Encoded(seen, torch.zeros_like(seen))


def decode_latents(bundle, latents_BCHW):
    return latents_BCHW.expand(-1, 3, -1, -1)


def encode_prompts(bundle, prompts):
    from aquatint.core.family import Conditioning
    from aquatint.families import _labelled

    return _labelled.encode(bundle, prompts) if bundle.told == "classes" else Conditioning()


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_steps(bundle, num_steps, shape=shape)


def network(bundle, conditioning):
    index, num_channels = bundle.objective.process.index, bundle.denoiser.config.in_channels
    told = dict(conditioning)
    # some networks say the variance too, after the mean
    return lambda x_t, t: bundle.denoiser(x_t, index(t), **told, return_dict=False)[0][:, :num_channels]


def _bundle(pipeline, *, labels=()) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._schedules import draw_in_few_steps, variance_preserving

    config = pipeline.unet.config
    if config.in_channels not in (1, 3):
        raise BadBase(f"this base's pictures have {config.in_channels} channels; grey and coloured ones can be trained")
    objective = variance_preserving(pipeline.scheduler)
    draw_in_few_steps(pipeline)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=_wordless.still(pipeline.unet), objective=objective,
        resolution_px=_wordless.side_of(config), width=max(config.block_out_channels), is_framed=True,
        side_multiple=2 ** (len(config.block_out_channels) - 1), told="classes" if labels else "nothing", labels=tuple(labels),
        null_class=len(labels) if config.num_class_embeds == len(labels) + 1 else None, while_drawing=said,
    )  # fmt: skip
