"""What families share whose bases read no text: their answers where others speak of words, and how their pipelines are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aquatint.core.request import Request
from aquatint.errors import BadBase, BadSetting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from aquatint.core.family import Bundle, Conditions, Draws

NO_WORDS = "this base draws what it has learned and is told nothing"
ONE_SIZE = "squares of {side} px are all that this base's stock pipeline draws"


def num_windows(bundle: Bundle, prompt: str) -> int:
    return 1


def cut_off(bundle: Bundle, prompt: str) -> str:
    return ""


def words(bundle: Bundle) -> list[str]:
    return []


def asked(bundle: Bundle, requests: Sequence[Request]) -> dict[str, Any]:
    """As many pictures as there are requests. Raises `BadSetting` for what nobody would listen to."""
    check(bundle, requests)
    return {"batch_size": len(requests)}


def conditions(bundle: Bundle, requests: Sequence[Request]) -> Conditions:
    """Nothing, or a class; without guidance, as the stock pipelines draw."""
    from aquatint.core.family import Conditions

    check(bundle, requests)
    return Conditions(bundle.family.encode_prompts(bundle, [request.prompt for request in requests]))


def check(bundle: Bundle, requests: Sequence[Request], *, is_guided: bool = False) -> None:
    """Raises `BadSetting` for a request that asks what the stock pipeline cannot be asked."""
    first, side = requests[0], bundle.resolution_px
    if bundle.told == "nothing" and any(request.prompt for request in requests):
        raise BadSetting(f"prompt={first.prompt}: {NO_WORDS}; leave the prompt out, and take another seed for another picture")
    if any(request.negative for request in requests):
        raise BadSetting(f"negative={first.negative}: this base's stock pipeline takes no negative prompt; leave it out")
    if not is_guided and first.scale != Request.scale:
        raise BadSetting(f"scale={first.scale:g}: there is no guidance for this base; leave it out")
    if bundle.is_framed and {first.width_px or side, first.height_px or side} != {side}:
        raise BadSetting(f"size={[first.width_px, first.height_px]}: {ONE_SIZE.format(side=side)}; leave the size out")


def drawn_latents(bundle: Bundle, draws: Draws) -> Tensor:
    """Pipelines that give pictures alone: these, encoded."""
    import torch

    pixels_BHWC = torch.from_numpy(draws("np"))
    pixels = pixels_BHWC.permute(0, 3, 1, 2).expand(-1, 3, -1, -1).to(bundle.device) * 2 - 1
    with bundle.gathered(), torch.no_grad():
        return bundle.family.encode_images(bundle, pixels).mean_BCHW


def side_of(config: Any) -> int:
    """The one side of the samples that a denoiser was made for. Raises `BadBase` where there is none."""
    size = config.sample_size
    sides = {size} if isinstance(size, int) else set(size or ())
    if len(sides) != 1:
        raise BadBase(f"the samples of this base have sides of {size} px, and only squares can be trained")
    return int(sides.pop())


def still(denoiser: nn.Module) -> nn.Module:
    """Without dropout, of features or of classes: all that is random in a step is drawn by its name (`core/randomness.py`)."""
    from torch import nn

    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "dropout_prob"):
            setattr(module, "dropout_prob", 0.0)  # noqa: B010 - a module's own number, which torch's types do not know
    return denoiser
