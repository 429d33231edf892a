"""What a network is, or a whole model, in one string."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from aquatint.core.family import Bundle


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all weights: equal exactly when two networks compute the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        for part in _parts(tensor.detach()):
            digest.update(part.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _parts(tensor: Any) -> Iterator[Any]:
    """The plain tensors that a quantised one is made of."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _parts(getattr(tensor, name))


def units(autoencoder: Any) -> str:
    """In which its latents reach the network: there are models with the same weights and other units."""
    return repr([getattr(autoencoder.config, name, None) for name in ("shift_factor", "scaling_factor")])


def identity(bundle: Bundle) -> str:
    """All that a picture, or an answer of the network, depends on besides the question. Hashes every weight, which takes seconds."""
    scheduler, objective = bundle.pipeline.scheduler, bundle.objective
    how = (type(scheduler).__name__, sorted(scheduler.config.items()), objective.prediction, objective.time, bundle.resolution_px)
    more = [f"{bundle.windows} windows"] if bundle.windows > 1 else []
    more += [repr(bundle.labels)] if bundle.labels else []
    more += [bundle.reading] if bundle.reading else []
    more += [units(bundle.autoencoder)] if bundle.autoencoder else []
    return "+".join([*(fingerprint(module) for module in bundle.modules), repr(how), *more])
