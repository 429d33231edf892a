"""What families share whose prompts are read by CLIP text encoders (Radford et al. 2021): tokens, windows, encodings, words.

Several encoders read the same texts. N texts, L tokens in a window, D width of an encoder, P width of its pooled vector.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aquatint.families._windows import pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from aquatint.core.family import Bundle

text_targets = ("q_proj", "k_proj", "v_proj", "out_proj")


def texts(bundle: Bundle, prompts: Sequence[str]) -> list[str]:
    """As many for each prompt as `bundle.windows` says: its pieces, then empty ones."""
    if bundle.windows == 1:
        return list(prompts)
    return [text for prompt in prompts for text in [*_pieces(bundle, prompt), *[""] * bundle.windows][: bundle.windows]]


def tokens(bundle: Bundle, words: Any, *, texts: Sequence[str], length: int | None = None) -> Any:
    """Of a tokenizer, all padded or cut to its window or to `length`; a learned word may be several."""
    full = {"padding": "max_length", "truncation": True, "max_length": length or words.model_max_length, "return_tensors": "pt"}
    return words([_spelled(bundle, text, words=words) for text in texts], **full)


def encodings(bundle: Bundle, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """As SDXL and SD3 take them: the last layer but one of every encoder side by side, (B, windows L, sum of D); pooled, (B, sum of P).

    Encoders without a projection pool nothing. Of several windows the first is pooled.
    """
    import torch

    given, length = texts(bundle, prompts), bundle.tokenizers[0].model_max_length
    seen, pooled = [], []
    for encoder, words in zip(bundle.adaptable, bundle.tokenizers, strict=True):
        ids = tokens(bundle, words, texts=given, length=length).input_ids
        output = encoder(ids.to(encoder.device), output_hidden_states=True)
        # of an encoder that pools nothing no one reads the last layer: trained, it needs a gradient all the same, which is zero
        seen.append((output.hidden_states[-2] + 0.0 * output.last_hidden_state).to(bundle.device))  # one of them may rest elsewhere
        pooled += [output.text_embeds.to(bundle.device)] if "text_embeds" in output else []
    side_by_side = torch.cat(seen, -1)
    first = [vectors.unflatten(0, (len(prompts), -1))[:, 0] for vectors in pooled]
    return side_by_side.reshape(len(prompts), -1, side_by_side.shape[-1]), torch.cat(first, -1)


def num_windows(bundle: Bundle, prompt: str) -> int:
    return len(_pieces(bundle, prompt))


def cut_off(bundle: Bundle, prompt: str) -> str:
    """What none of the encoders sees."""
    if bundle.windows > 1:
        return " ".join(_pieces(bundle, prompt)[bundle.windows :])
    return min((lost(bundle, words, prompt=prompt, length=words.model_max_length) for words in bundle.tokenizers), key=len)


def lost(bundle: Bundle, words: Any, *, prompt: str, length: int) -> str:
    """What a tokenizer cuts off when it may give `length` tokens."""
    ids = words(_spelled(bundle, prompt, words=words), verbose=False).input_ids[length - 1 : -1]
    return str(words.decode(ids)).replace("</w>", " ").strip()  # some tokenizers leave the mark of a word's end


def words(bundle: Bundle) -> list[str]:
    """Of the first encoder's tokenizer; all that CLIP's encoders have share one table."""
    tokenizer = bundle.tokenizers[0]
    ids = tokenizer.get_vocab()  # byte-pair encoding numbers its tokens by how common they are
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    endings = {merge[1] for merge in merges}  # `pple</w>` is the end of `apple</w>`
    whole = [token for token in sorted(ids, key=ids.get) if token.endswith("</w>") and token not in endings]
    return [token.removesuffix("</w>") for token in whole]


def _pieces(bundle: Bundle, prompt: str) -> list[str]:
    def fits(text: str) -> bool:
        return all(len(t(_spelled(bundle, text, words=t), verbose=False).input_ids) <= t.model_max_length for t in bundle.tokenizers)

    return pieces(prompt, fits=fits, whole=list({word: None for t in bundle.tokenizers for word in t.get_added_vocab()}))


def _spelled(bundle: Bundle, text: str, *, words: Any) -> str:
    """With every token of a learned word, in pipelines that load such words."""
    convert = getattr(bundle.pipeline, "maybe_convert_prompt", None)
    return convert(text, words) if convert else text
