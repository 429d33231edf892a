"""Stable Diffusion 1 and 2 (Rombach et al. 2022): a text-conditioned U-Net on the latents of an autoencoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.families._sources import load_pipeline
from aquatint.families._windows import pieces

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
text_targets = ("q_proj", "k_proj", "v_proj", "out_proj")


def load(source: str | Path) -> Bundle:
    return _bundle(load_pipeline(source, PIPELINES, requires_safety_checker=False))


def tiny(told=None) -> Bundle:
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from aquatint.families._tiny import tokenizer

    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, cross_attention_dim=32, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=8, sample_size=16,
    )  # fmt: skip
    words = tokenizer(max_length=16)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), eos_token_id=words.eos_token_id, bos_token_id=words.bos_token_id, **sizes))
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return _bundle(StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=words, unet=unet, scheduler=scheduler, **parts))


def encode_images(bundle, pixels_BCHW):
    from aquatint.core.family import Encoded

    posterior, scale = bundle.autoencoder.encode(pixels_BCHW).latent_dist, bundle.autoencoder.config.scaling_factor
    return Encoded(posterior.mean * scale, posterior.std * scale)


def decode_latents(bundle, latents_BCHW):
    return bundle.autoencoder.decode(latents_BCHW / bundle.autoencoder.config.scaling_factor).sample


def encode_prompts(bundle, prompts):
    from aquatint.core.family import Conditioning

    words, encoder = bundle.pipeline.tokenizer, bundle.text_encoders[0]
    texts = list(prompts)
    if bundle.windows > 1:
        texts = [text for prompt in prompts for text in [*_pieces(bundle, prompt), *[""] * bundle.windows][: bundle.windows]]
    texts = bundle.pipeline.maybe_convert_prompt(texts, words)  # a learned word may be several tokens
    tokens = words(texts, padding="max_length", truncation=True, max_length=words.model_max_length, return_tensors="pt")
    mask = tokens.attention_mask.to(encoder.device) if getattr(encoder.config, "use_attention_mask", None) else None
    seen = encoder(tokens.input_ids.to(encoder.device), attention_mask=mask)[0]
    return Conditioning(prompt_embeds=seen.reshape(len(prompts), -1, seen.shape[-1]))


def asked(bundle, requests):
    from aquatint.families import _prompted

    return _prompted.asked(bundle, requests)


def drawn_latents(bundle, draws):
    from aquatint.families import _prompted

    return _prompted.drawn_latents(bundle, draws)


def num_windows(bundle, prompt):
    return len(_pieces(bundle, prompt))


def _pieces(bundle, prompt):
    words = bundle.pipeline.tokenizer

    def fits(text):
        return len(words(bundle.pipeline.maybe_convert_prompt(text, words), verbose=False).input_ids) <= words.model_max_length

    return pieces(prompt, fits=fits, whole=list(words.get_added_vocab()))


def cut_off(bundle, prompt):
    if bundle.windows > 1:
        return " ".join(_pieces(bundle, prompt)[bundle.windows :])
    words = bundle.pipeline.tokenizer
    lost = words(bundle.pipeline.maybe_convert_prompt(prompt, words), verbose=False).input_ids[words.model_max_length - 1 : -1]
    return words.decode(lost).replace("</w>", " ").strip()  # some tokenizers leave the mark of a word's end


def words(bundle):
    ids = bundle.pipeline.tokenizer.get_vocab()  # byte-pair encoding numbers its tokens by how common they are
    merges = json.loads(bundle.pipeline.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    endings = {merge[1] for merge in merges}  # `pple</w>` is the end of `apple</w>`
    whole = [token for token in sorted(ids, key=ids.get) if token.endswith("</w>") and token not in endings]
    return [token.removesuffix("</w>") for token in whole]


def network(bundle, conditioning):
    index = bundle.objective.process.index
    return lambda x_t, t: bundle.denoiser(x_t, index(t), encoder_hidden_states=conditioning["prompt_embeds"], return_dict=False)[0]


def _bundle(pipeline) -> Bundle:
    from aquatint.core.family import Bundle
    from aquatint.families._attention import use_small_attention
    from aquatint.families._schedules import variance_preserving

    use_small_attention(pipeline.unet)
    scale = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    return Bundle(
        family=sys.modules[__name__], pipeline=pipeline, denoiser=pipeline.unet, objective=variance_preserving(pipeline.scheduler),
        resolution_px=pipeline.unet.config.sample_size * scale, width=max(pipeline.unet.config.block_out_channels),
        side_multiple=pixel_multiple, autoencoder=pipeline.vae, text_encoders=(pipeline.text_encoder,),
    )  # fmt: skip
