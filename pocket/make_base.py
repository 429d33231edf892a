"""Put the trained parts and an untrained U-Net together as a Stable Diffusion folder: `python pocket/make_base.py PARTS_DIR OUT_DIR`."""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer


def new_unet(text_width: int) -> UNet2DConditionModel:
    """13 million weights: attention where the picture is 8 x 8 and 4 x 4 latents."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(96, 160, 192), norm_num_groups=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=text_width, attention_head_dim=4,
    )  # fmt: skip


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise levels, with the velocity as what is predicted (Salimans & Ho 2022)."""
    return DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction", clip_sample=False,
        set_alpha_to_one=True, steps_offset=1, timestep_spacing="trailing",
    )  # fmt: skip


def main(parts_dir: Path, out_dir: Path) -> None:
    torch.manual_seed(0)
    text_encoder = CLIPTextModel.from_pretrained(parts_dir / "text_encoder")
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(parts_dir / "vae"), text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(parts_dir / "tokenizer"), unet=new_unet(text_encoder.config.hidden_size),
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(out_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
