"""Bases in four or eight bits, through diffusers' own quantisation of a pipeline's parts. Needs packages that do not come with this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Literal

Format = Literal["nf4", "int8", "fp8"]
PACKAGES: dict[Format, str] = {"nf4": "bitsandbytes", "int8": "torchao", "fp8": "torchao"}
DENOISERS = ("unet", "transformer")

_asked: ContextVar[Format | None] = ContextVar("quantised", default=None)


def missing(wanted: Format) -> str | None:
    """The package that it needs and that is not here."""
    return None if find_spec(PACKAGES[wanted]) else PACKAGES[wanted]


@contextmanager
def quantised(wanted: Format | None) -> Iterator[None]:
    """Inside, pipelines are loaded with their denoiser in this format; the other parts stay float32."""
    before = _asked.set(wanted)
    try:
        yield
    finally:
        _asked.reset(before)


def loading_options() -> dict[str, Any]:
    """For `from_pretrained` of a pipeline."""
    wanted = _asked.get()
    if wanted is None:
        return {}
    from diffusers import PipelineQuantizationConfig

    return {"quantization_config": PipelineQuantizationConfig(quant_mapping=dict.fromkeys(DENOISERS, _config(wanted)))}


def _config(wanted: Format) -> Any:
    import torch
    from diffusers import BitsAndBytesConfig, TorchAoConfig

    if wanted == "nf4":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig() if wanted == "int8" else Float8WeightOnlyConfig())
