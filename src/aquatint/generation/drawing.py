"""Pictures from a bundle through its stock pipeline; one seed is one picture, whatever it is drawn together with."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL.Image import Image

from aquatint.core.family import Bundle
from aquatint.core.request import Request


def draw(bundle: Bundle, requests: Sequence[Request], *, batch_size: int = 1, precision: torch.dtype = torch.float32) -> Iterator[Image]:
    """Yields one picture for each request, in order. Requests of one batch must agree in all but prompt and seed."""
    for start in range(0, len(requests), batch_size):
        yield from _run(bundle, requests[start : start + batch_size], precision=precision, output_type="pil")


def draw_latents(bundle: Bundle, requests: Sequence[Request], *, precision: torch.dtype = torch.float32) -> torch.Tensor:
    """The same before the autoencoder: (B, C, H, W), in the units that the network is trained on."""
    return bundle.family.drawn_latents(bundle, lambda form: _run(bundle, requests, precision=precision, output_type=form))


def _run(bundle: Bundle, requests: Sequence[Request], *, precision: torch.dtype, output_type: str) -> Any:
    first, pipeline, device = requests[0], bundle.pipeline, bundle.device
    pipeline.set_progress_bar_config(disable=True)
    was_training = [m for m in bundle.modules if m.training]
    for module in was_training:
        module.eval()
    try:
        autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
        with bundle.gathered(), bundle.while_drawing(bundle, requests), torch.no_grad(), autocast:
            drawn = pipeline(
                **bundle.family.asked(bundle, requests),
                num_inference_steps=first.num_steps,
                generator=[torch.Generator().manual_seed(r.seed) for r in requests],
                output_type=output_type,
            ).images
    finally:
        for module in was_training:
            module.train()
    return drawn
