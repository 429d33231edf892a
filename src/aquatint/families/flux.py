"""FLUX.1, dev and schnell (Black Forest Labs 2024): a rectified-flow transformer on latents in patches; T5 reads, CLIP sums up.

`dev` is distilled with guidance: it is told a scale, and draws as if guided by it at the cost of one call. `schnell` is told none.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families import _autoencoder, _clip, _clip_and_t5
from aquatint.families._sources import load_pipeline

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

PIPELINES = {"FluxPipeline": "text"}
FILE_PARTS = {
    "transformer": "model.diffusion_model.", "vae": "vae.",
    "text_encoder": "text_encoders.clip_l.", "text_encoder_2": "text_encoders.t5xxl.",
}  # fmt: skip
MARKS = (
    "model.diffusion_model.double_blocks.", "model.diffusion_model.single_blocks.", "vae.", "text_encoders.clip_l.", "text_encoders.t5xxl.",
)  # fmt: skip
pixel_multiple = 16
lora_targets = _clip_and_t5.lora_targets
convolution_targets = ()
text_parts = ("text_encoder",)
no_own_word = "T5 reads its prompts and learns no words; of CLIP, which does, one pooled vector is all that it is told"
text_targets = _clip.text_targets

PATCH = 2
GUIDANCE = 1.0
"""The scale that `dev` is told in training: at 1 nothing is guided, so its target is that of a model without distillation."""
T5_TOKENS, FEW_T5_TOKENS = 512, 256
"""Of `dev`, and of `schnell`."""

encode_images, decode_latents = _autoencoder.encode_images, _autoencoder.decode_latents
num_windows, words = _clip_and_t5.num_windows, _clip.words


def load(source: str | Path) -> Bundle:
    return _bundle(load_pipeline(source, PIPELINES))


def tiny(told=None) -> Bundle:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    from aquatint.families import _tiny

    (text, words), (text_2, words_2) = _tiny.clip(32), _tiny.t5(48)
    transformer = FluxTransformer2DModel(
        in_channels=PATCH**2 * 4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, pooled_projection_dim=32, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = _tiny.autoencoder(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return _bundle(
        FluxPipeline(
            transformer=transformer, scheduler=scheduler, vae=vae, text_encoder=text, tokenizer=words, text_encoder_2=text_2,
            tokenizer_2=words_2,
        )
    )  # fmt: skip


def encode_prompts(bundle, prompts):
    from aquatint.core.family import Conditioning

    pipeline, encoder = bundle.pipeline, bundle.pipeline.text_encoder
    ids = _clip.tokens(bundle, pipeline.tokenizer, texts=prompts).input_ids
    pooled = encoder(ids.to(encoder.device)).pooler_output
    t5 = {"encoder": pipeline.text_encoder_2, "tokenizer": pipeline.tokenizer_2, "length": _num_t5_tokens(pipeline)}
    return Conditioning(prompt_embeds=_clip_and_t5.encoding(bundle, prompts, **t5), pooled_prompt_embeds=pooled)


def asked(bundle, requests):
    """The scale is the one that the network is told. A negative prompt is subtracted by it instead, at twice the time."""
    first, negatives = requests[0], [request.negative for request in requests]
    how = {"guidance_scale": first.scale}
    if any(negatives):
        how = {"guidance_scale": GUIDANCE, "true_cfg_scale": first.scale, "negative_prompt": negatives}
    size = {"height": first.height_px or bundle.resolution_px, "width": first.width_px or bundle.resolution_px}
    return {**how, **size, "prompt": [request.prompt for request in requests], "max_sequence_length": _num_t5_tokens(bundle.pipeline)}


def drawn_latents(bundle, draws):
    """The pipeline gives patches in a row, and tells of rows and columns in what it hands to the network alone."""
    places = []
    listening = bundle.denoiser.register_forward_pre_hook(lambda _, args, told: places.append(told["img_ids"]), with_kwargs=True)
    try:
        packed = draws("latent")
    finally:
        listening.remove()
    _, row, column = places[-1].amax(0).int().tolist()
    return _unpacked(packed, (row + 1, column + 1))


def cut_off(bundle, prompt):
    """What none of the encoders sees."""
    return _clip.lost(bundle, bundle.pipeline.tokenizer_2, prompt=prompt, length=_num_t5_tokens(bundle.pipeline))


def conditions(bundle, requests):
    """The scale is told; with a negative prompt it guides instead, as in `asked`."""
    from aquatint.core.family import Conditions

    is_guided, scale = any(request.negative for request in requests), requests[0].scale
    told = _told(bundle, [request.prompt for request in requests], scale=GUIDANCE if is_guided else scale)
    if not is_guided or scale <= 1:
        return Conditions(told)
    return Conditions(told, _told(bundle, [request.negative for request in requests], scale=GUIDANCE), scale)


def _told(bundle, prompts, *, scale):
    import torch

    from aquatint.core.family import Conditioning

    return Conditioning(encode_prompts(bundle, prompts), guidance=torch.full((len(prompts),), scale, device=bundle.device))


def set_steps(bundle, num_steps, *, shape):
    from aquatint.families import _schedules

    _schedules.set_flow_steps(bundle, num_steps, shape=shape, patch=PATCH, is_even=True)


def network(bundle, conditioning):
    import torch

    seen, has_guidance = conditioning["prompt_embeds"], bundle.denoiser.config.guidance_embeds
    told = {"encoder_hidden_states": seen, "pooled_projections": conditioning["pooled_prompt_embeds"]}

    def output(x_t, t):
        rows, columns = (side // PATCH for side in x_t.shape[-2:])
        grid = torch.cartesian_prod(*(torch.arange(n, dtype=x_t.dtype, device=x_t.device) for n in (1, rows, columns)))
        places = {"img_ids": grid, "txt_ids": x_t.new_zeros(seen.shape[1], 3)}
        guidance = conditioning.get("guidance", t.new_full(t.shape, GUIDANCE)) if has_guidance else None
        packed = bundle.denoiser(_packed(x_t), timestep=t, guidance=guidance, **told, **places, return_dict=False)[0]
        return _unpacked(packed, (rows, columns))

    return output


def _packed(x):
    """(B, C, 2 rows, 2 columns) -> (B, rows columns, 4 C)."""
    from torch.nn.functional import pixel_unshuffle

    return pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def _unpacked(packed, grid):
    """Back, by rows and columns."""
    from torch.nn.functional import pixel_shuffle

    return pixel_shuffle(packed.transpose(1, 2).unflatten(2, grid), PATCH)


def _num_t5_tokens(pipeline) -> int:
    return _clip_and_t5.length_of(pipeline.tokenizer_2, T5_TOKENS if pipeline.transformer.config.guidance_embeds else FEW_T5_TOKENS)


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._schedules import flow

    config = pipeline.transformer.config
    _clip_and_t5.tie(pipeline.text_encoder_2)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=pipeline.transformer, objective=flow(pipeline.scheduler),
        resolution_px=pipeline.vae.config.sample_size,  # the transformer's settings hold none
        width=config.num_attention_heads * config.attention_head_dim, side_multiple=pixel_multiple, autoencoder=pipeline.vae,
        text_encoders=(pipeline.text_encoder, pipeline.text_encoder_2), reading=f"{_num_t5_tokens(pipeline)} tokens of T5",
    )  # fmt: skip
