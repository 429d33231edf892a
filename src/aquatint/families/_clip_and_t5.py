"""What SD3 and FLUX share, whose prompts are read by CLIP encoders and by T5 (Raffel et al. 2020), and whose denoisers are transformers.

T5's window is several times as long as CLIP's, so prompts are never joined from several windows: what CLIP does not see, T5 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aquatint.families import _clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from aquatint.core.family import Bundle

text_targets = _clip.text_targets
words = _clip.words
lora_targets = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
"""Attention of both streams, pictures' and text's."""


def encoding(bundle: Bundle, prompts: Sequence[str], *, encoder: Any, tokenizer: Any, length: int) -> Tensor:
    """T5's last layer, (B, length, D); padding is read too, as the networks were trained."""
    ids = _clip.tokens(bundle, tokenizer, texts=prompts, length=length).input_ids
    return encoder(ids.to(encoder.device))[0].to(bundle.device)


def tie(encoder: Any) -> None:
    """T5's table has two names; a single file may hold one of them, and diffusers then leaves the other without numbers."""
    if encoder is not None:
        encoder.tie_weights()


def num_windows(bundle: Bundle, prompt: str) -> int:
    return 1


def length_of(tokenizer: Any, most: int) -> int:
    """Tokens that T5 is given: as many as the networks were trained with, or the tokenizer's own limit."""
    return min(most, tokenizer.model_max_length) if tokenizer is not None else most
