"""The tensors of one adapted layer: as PEFT and diffusers have them, and as kohya's programs, LyCORIS, ComfyUI and A1111 do.

    form    PEFT                               LyCORIS                            scale
    lora    lora_A.weight, lora_B.weight       lora_down.weight, lora_up.weight   alpha / rank
    dora    and lora_magnitude_vector:         and dora_scale:
              (out,) or (1, out, 1, 1)           (out, 1) or (out, 1, 1, 1)
    loha    hada_w1_a … hada_w2_b, hada_t1/2   the same                           alpha / rank
    lokr    lokr_w1 …, lokr_w2 …, lokr_t2      the same                           alpha / rank; 1 where both factors are whole

The rotation is not here: PEFT's `oft_R` turns a layer's inputs, W R, and LyCORIS' `oft_blocks` its outputs, R W.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

A, B, DOWN, UP = "lora_A.weight", "lora_B.weight", "lora_down.weight", "lora_up.weight"
MAGNITUDE, DORA_SCALE, ALPHA = "lora_magnitude_vector", "dora_scale", "alpha"
TO_LYCORIS = {A: DOWN, B: UP, MAGNITUDE: DORA_SCALE}
FROM_LYCORIS = {theirs: ours for ours, theirs in TO_LYCORIS.items()}
ALIKE = (
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
)  # fmt: skip
WITH_RANK = ("lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
"""The length of their first side is the rank."""


def to_lycoris(layer: Mapping[str, Tensor], *, scale: float = 1.0) -> dict[str, Tensor]:
    """PEFT's tensors of a layer by their last names, `scale` the factor on the update; ready to be prefixed by the layer's name.

    Raises `ValueError` for what LyCORIS cannot hold.
    """
    plain = {name.removesuffix(".weight") if name.startswith(MAGNITUDE) else name: tensor for name, tensor in layer.items()}
    _check(plain, {*TO_LYCORIS, *ALIKE})
    renamed = {TO_LYCORIS.get(name, name): tensor for name, tensor in plain.items()}
    if DORA_SCALE in renamed:
        ndim = renamed[DOWN].ndim
        renamed[DORA_SCALE] = renamed[DORA_SCALE].reshape(-1, *[1] * (ndim - 1))
    rank = _rank(renamed)
    if rank is None:  # readers take the scale of two whole factors for 1
        renamed["lokr_w1"], rank, scale = renamed["lokr_w1"] * scale, 1, 1.0
    return {**renamed, ALPHA: torch.tensor(scale * rank)}


def from_lycoris(layer: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """PEFT's tensors, and the factor on the update. Raises `ValueError` for what PEFT cannot hold."""
    _check(layer, {*FROM_LYCORIS, *ALIKE, ALPHA})
    renamed = {FROM_LYCORIS.get(name, name): tensor for name, tensor in layer.items() if name != ALPHA}
    if MAGNITUDE in renamed:
        renamed[MAGNITUDE] = _rows(renamed)
    rank = _rank(layer)
    has_scale = rank is not None and ALPHA in layer
    return renamed, float(layer[ALPHA]) / rank if has_scale and rank else 1.0


def _rank(layer: Mapping[str, Tensor]) -> int | None:
    """None where both factors of a Kronecker product are whole."""
    return next((len(layer[name]) for name in WITH_RANK if name in layer), None)


def _rows(layer: Mapping[str, Tensor]) -> Tensor:
    magnitude = layer[MAGNITUDE]
    if B not in layer:
        raise ValueError("dora_scale beside another form than lora: PEFT has no such layer")
    out, ndim = len(layer[B]), layer[A].ndim
    if magnitude.shape[0] != out or magnitude.numel() != out:
        raise ValueError(f"dora_scale of shape {tuple(magnitude.shape)} holds lengths of columns; PEFT has those of the {out} rows")
    return magnitude.reshape(out) if ndim == 2 else magnitude.reshape(1, out, *[1] * (ndim - 2))


def _check(layer: Mapping[str, Tensor], known: set[str]) -> None:
    if turned := [name for name in layer if name.startswith("oft_")]:
        raise ValueError(f"{turned[0]}: PEFT rotates a layer's inputs and LyCORIS its outputs, so neither can hold the other's")
    if unknown := sorted(set(layer) - known):
        raise ValueError(f"{', '.join(unknown)}: not a tensor of lora, dora, loha or lokr that both sides have")
