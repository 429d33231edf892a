"""`learned_embeds.safetensors`: a learned word, a tensor (N, D) for each text encoder.

For one encoder it stands under its own name, for several under `clip_l` and `clip_g`, as A1111 and ComfyUI read it; then the word
stands in the metadata.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aquatint.export.tensors import write_tensors

KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""The pipeline's name of a text encoder -> the key of its vectors."""
WORD = "aquatint.word"


def write(path: Path, vectors: Mapping[str, Tensor], *, word: str, facts: dict[str, str]) -> Path:
    """Vectors by the pipeline's names of the text encoders. Stock loaders number the further tokens by themselves: `zwx`, `zwx_1`, …"""
    tensors = {word if [*vectors] == ["text_encoder"] else KEYS[part]: each.float() for part, each in vectors.items()}
    write_tensors(tensors, path, metadata={"format": "pt", WORD: word, **facts})
    return path


def load(pipeline: Any, path: Path) -> None:
    """By the pipeline's own loader."""
    from safetensors.torch import load_file

    word, parts = _read(path)
    if not parts:
        pipeline.load_textual_inversion(path.parent, weight_name=path.name)
    tensors = load_file(path) if parts else {}
    for part in parts:
        encoder, tokenizer = getattr(pipeline, part), getattr(pipeline, _tokenizer(part))
        pipeline.load_textual_inversion(tensors[KEYS[part]], token=word, text_encoder=encoder, tokenizer=tokenizer)


def word_in(path: Path) -> str:
    """The word that a file teaches; the only key of a file that does not name it otherwise."""
    from safetensors import safe_open

    word, _ = _read(path)
    with safe_open(path, "pt") as file:
        return word or next(iter(file.keys()), "")


def loading_lines(path: Path) -> list[str]:
    """Python that puts the word into `pipe` with diffusers alone."""
    word, parts = _read(path)
    if not parts:
        return [f"pipe.load_textual_inversion({str(path)!r})"]
    lines = ["from safetensors.torch import load_file", f"word = load_file({str(path)!r})"]
    for part in parts:
        where = f"text_encoder=pipe.{part}, tokenizer=pipe.{_tokenizer(part)}"
        lines.append(f"pipe.load_textual_inversion(word[{KEYS[part]!r}], token={word!r}, {where})")
    return lines


def _read(path: Path) -> tuple[str, list[str]]:
    """The word, and the text encoders that have keys of their own."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        keys, word = file.keys(), (file.metadata() or {}).get(WORD, "")
    return word, [part for part, key in KEYS.items() if word and key in keys]


def _tokenizer(part: str) -> str:
    return part.replace("text_encoder", "tokenizer")
