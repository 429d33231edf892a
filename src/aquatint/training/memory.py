"""What a run does to need less of the device's memory."""

from typing import Any

from aquatint.core.family import Bundle
from aquatint.errors import BadSetting


def checkpoint_gradients(bundle: Bundle, *, reaches_text: bool) -> None:
    """Layers compute again on the way back instead of keeping what they computed on the way there (Chen et al. 2016).

    Raises `BadSetting` for an architecture that cannot.
    """
    denoiser: Any = bundle.denoiser
    if not getattr(denoiser, "_supports_gradient_checkpointing", False):
        raise BadSetting(f"gradient_checkpointing: {type(denoiser).__name__} cannot compute its layers again; leave it out")
    denoiser.enable_gradient_checkpointing()
    for encoder in bundle.adaptable if reaches_text else ():
        _enable(encoder)


def _enable(encoder: Any) -> None:
    how = {"use_reentrant": False}  # else nothing reaches weights behind frozen inputs
    if hasattr(encoder, "activation_checkpointing_enable"):
        encoder.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:  # the same, as older transformers call it
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
