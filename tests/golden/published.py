"""The published models, built from their published settings without weights; and the shapes of their adapted layers, by hand.

A shape is (out, in, pixels of the kernel); what stands beside it is how many layers of the denoiser have it. Of U-Nets the hand counts
blocks by width, of their residual layers the channels that come in: those of the layer before and those from the way down.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diffusers import DiTTransformer2DModel, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

Shapes = Counter[tuple[int, int, int]]

MMDIT = {"in_channels": 16, "out_channels": 16, "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "pos_embed_max_size": 192}
XL = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": (5, 10, 20),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
V2 = {"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16, "projection_dim": 512}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280}


def clip(config: Mapping[str, int], *, is_projected: bool = False) -> nn.Module:
    return (CLIPTextModelWithProjection if is_projected else CLIPTextModel)(CLIPTextConfig(**config))


def mmdit(num: int, **more: object) -> nn.Module:
    """As deep as it has heads of 64."""
    width = {"num_layers": num, "num_attention_heads": num, "attention_head_dim": 64, "caption_projection_dim": num * 64}
    return SD3Transformer2DModel(**MMDIT, **width, **more)


def unet(widths: Sequence[int], attended: Sequence[int], **more: object) -> nn.Module:
    """On pixels or wordless latents, with attention at the levels of these numbers."""
    down = ["AttnDownBlock2D" if level in attended else "DownBlock2D" for level in range(len(widths))]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return UNet2DModel(block_out_channels=tuple(widths), down_block_types=tuple(down), up_block_types=tuple(up), **more)


def cross_attention(blocks: Mapping[int, int], text: int) -> Shapes:
    """Width -> blocks: queries, keys, values, output of both attentions, the second's keys and values from a text."""
    found: Shapes = Counter()
    for width, num in blocks.items():
        found += Counter({(width, width, 1): 6 * num}) + Counter({(width, text, 1): 2 * num})
    return found


def self_attention(blocks: Mapping[int, int]) -> Shapes:
    return Counter({(width, width, 1): 4 * num for width, num in blocks.items()})


def residual(layers: Sequence[tuple[int, Sequence[int]]]) -> Shapes:
    """(channels that go out, channels that come in of each layer): two convolutions of 3 x 3, and a shortcut where these differ."""
    found: Shapes = Counter()
    for out, many in layers:
        for into in many:
            found += Counter([(out, into, 9), (out, out, 9)])
            found += Counter([(out, into, 1)] if into != out else [])
    return found


FOUR = (  # Stable Diffusion 1 and 2: down, middle, up
    (320, (320, 320)), (640, (320, 640)), (1280, (640, 1280)), (1280, (1280, 1280)), (1280, (1280, 1280)),
    (1280, (2560, 2560, 2560)), (1280, (2560, 2560, 1920)), (640, (1920, 1280, 960)), (320, (960, 640, 640)),
)  # fmt: skip
THREE = (  # XL
    (320, (320, 320)), (640, (320, 640)), (1280, (640, 1280)), (1280, (1280, 1280)),
    (1280, (2560, 2560, 1920)), (640, (1920, 1280, 960)), (320, (960, 640, 640)),
)  # fmt: skip
CIFAR = (
    (128, (128, 128)), (256, (128, 256)), (256, (256, 256)), (256, (256, 256)), (256, (256, 256)),
    (256, (512, 512, 512)), (256, (512, 512, 512)), (256, (512, 512, 384)), (128, (384, 256, 256)),
)  # fmt: skip
BEDROOM = (
    (128, (128, 128)), (128, (128, 128)), (256, (128, 256)), (256, (256, 256)), (512, (256, 512)), (512, (512, 512)), (512, (512, 512)),
    (512, (1024, 1024, 1024)), (512, (1024, 1024, 768)), (256, (768, 512, 512)), (256, (512, 512, 384)), (128, (384, 256, 256)),
    (128, (256, 256, 256)),
)  # fmt: skip
CELEBA = (
    (224, (224, 224)), (448, (224, 448)), (672, (448, 672)), (896, (672, 896)), (896, (896, 896)),
    (896, (1792, 1792, 1568)), (672, (1568, 1344, 1120)), (448, (1120, 896, 672)), (224, (672, 448, 448)),
)  # fmt: skip
BLOCKS = {320: 5, 640: 5, 1280: 6}
"""Two on each way down, three up, one in the middle."""
PROJECTIONS: Shapes = Counter({(width, width, 1): 2 * num for width, num in BLOCKS.items()})


@dataclass(frozen=True)
class Published:
    family: str
    part: str
    build: Callable[[], nn.Module]
    attention: Shapes
    convolutions: Shapes
    """Those that `method.convolutions` adds."""
    encoders: Sequence[tuple[Callable[[], nn.Module], int, int]] = ()
    """Text encoders that can be trained: how each is built, its layers, its width."""


ENCODER_L = (lambda: clip(CLIP_L), 12, 768)
ENCODER_L_P = (lambda: clip(CLIP_L, is_projected=True), 12, 768)
ENCODER_H = (lambda: clip(CLIP_H), 23, 1024)
ENCODER_G = (lambda: clip(CLIP_G, is_projected=True), 32, 1280)
FLUX_LAYERS: Shapes = Counter({(3072, 3072, 1): 19 * 8 + 38 * 3})  # eight in each double block, three in each single one

MODELS = {
    "SD 1.5": Published(
        "sd", "unet", lambda: UNet2DConditionModel(sample_size=64, cross_attention_dim=768), cross_attention(BLOCKS, 768),
        residual(FOUR) + PROJECTIONS, [ENCODER_L],
    ),
    "SD 2.1": Published(
        "sd", "unet", lambda: UNet2DConditionModel(**V2), cross_attention(BLOCKS, 1024), residual(FOUR) + PROJECTIONS, [ENCODER_H],
    ),
    # 4 + 6 blocks of 640, 20 + 10 + 30 of 1280
    "SDXL base": Published(
        "sdxl", "unet", lambda: UNet2DConditionModel(**XL), cross_attention({640: 10, 1280: 60}, 2048), residual(THREE),
        [ENCODER_L, ENCODER_G],
    ),
    # eight layers a block; the last one has no output for the text
    "SD3 medium": Published(
        "sd3", "transformer", lambda: mmdit(24), Counter({(1536, 1536, 1): 24 * 8 - 1}), Counter([(1536, 16, 4)]), [ENCODER_L_P, ENCODER_G],
    ),
    # and a second attention of the picture to itself in the first thirteen
    "SD3.5 medium": Published(
        "sd3", "transformer", lambda: mmdit(24, qk_norm="rms_norm", dual_attention_layers=tuple(range(13))),
        Counter({(1536, 1536, 1): 24 * 8 - 1 + 13 * 4}), Counter([(1536, 16, 4)]), [ENCODER_L_P, ENCODER_G],
    ),
    "SD3.5 large": Published(
        "sd3", "transformer", lambda: mmdit(38, qk_norm="rms_norm"), Counter({(2432, 2432, 1): 38 * 8 - 1}), Counter([(2432, 16, 4)]),
        [ENCODER_L_P, ENCODER_G],
    ),
    "FLUX.1 dev": Published(
        "flux", "transformer", lambda: FluxTransformer2DModel(guidance_embeds=True), FLUX_LAYERS, Counter(), [ENCODER_L],
    ),
    "FLUX.1 schnell": Published("flux", "transformer", lambda: FluxTransformer2DModel(), FLUX_LAYERS, Counter(), [ENCODER_L]),
    "DDPM CIFAR-10": Published(
        "ddpm", "unet", lambda: unet((128, 256, 256, 256), [1], sample_size=32), self_attention({256: 6}), residual(CIFAR),
    ),
    "DDPM bedroom": Published(
        "ddpm", "unet", lambda: unet((128, 128, 256, 256, 512, 512), [4], sample_size=256), self_attention({512: 6}), residual(BEDROOM),
    ),
    "LDM CelebA-HQ": Published(
        "ldm", "unet", lambda: unet((224, 448, 672, 896), [1, 2, 3], sample_size=64, attention_head_dim=32),
        self_attention({448: 5, 672: 5, 896: 6}), residual(CELEBA),
    ),
    "LDM text": Published(
        "ldm", "unet", lambda: UNet2DConditionModel(sample_size=32, cross_attention_dim=1280), cross_attention(BLOCKS, 1280),
        residual(FOUR) + PROJECTIONS,
    ),
    "DiT-XL/2": Published(
        "dit", "transformer", lambda: DiTTransformer2DModel(out_channels=8, num_embeds_ada_norm=1000),
        Counter({(1152, 1152, 1): 28 * 4}), Counter([(1152, 4, 4)]),
    ),
}  # fmt: skip
