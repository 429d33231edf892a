"""`learned_embeds.safetensors`: a learned word as one tensor (N, D) under its own name, which diffusers and A1111 load."""

from pathlib import Path

from torch import Tensor

from aquatint.export.tensors import write_tensors


def write(path: Path, vectors: Tensor, *, word: str, facts: dict[str, str]) -> Path:
    """Stock loaders number the further tokens by themselves: `zwx`, `zwx_1`, …"""
    write_tensors({word: vectors.float()}, path, metadata={"format": "pt", **facts})
    return path
