"""What families share whose stock pipelines take a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aquatint.core.family import Bundle, Draws
    from aquatint.core.request import Request


def asked(bundle: Bundle, requests: Sequence[Request], *, is_encoded: bool = False) -> dict[str, Any]:
    """Text; or encodings, where the pipeline would read it otherwise than the network was trained to see it.

    What the family's `encode_prompts` names is what the pipeline takes, and after `negative_` for the negative prompt.
    """
    first, prompts, negatives = requests[0], [r.prompt for r in requests], [r.negative for r in requests]
    how = {"guidance_scale": first.scale, "height": first.height_px, "width": first.width_px}
    if bundle.windows == 1 and not is_encoded:
        return {**how, "prompt": prompts, "negative_prompt": negatives if any(negatives) else None}
    encode = bundle.family.encode_prompts
    against = {f"negative_{name}": value for name, value in encode(bundle, negatives).items()}
    return {**how, **encode(bundle, prompts), **against}


def drawn_latents(bundle: Bundle, draws: Draws) -> Any:
    """Of pipelines whose latents are those that the network is trained on."""
    return draws("latent")
