"""What families share whose stock pipelines take a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aquatint.core.family import Bundle, Conditions, Draws
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


def conditions(bundle: Bundle, requests: Sequence[Request]) -> Conditions:
    """Stock pipelines guide at scales above 1."""
    from aquatint.core.family import Conditions

    encode, scale = bundle.family.encode_prompts, requests[0].scale
    given = encode(bundle, [request.prompt for request in requests])
    return Conditions(given, encode(bundle, [request.negative for request in requests]), scale) if scale > 1 else Conditions(given)


def drawn_latents(bundle: Bundle, draws: Draws) -> Any:
    """Of pipelines whose latents are those that the network is trained on."""
    return draws("latent")
