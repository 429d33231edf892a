"""What a network is, or a whole model, in one string."""

import hashlib

import torch
from torch import nn

from aquatint.core.family import Bundle


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all weights: equal exactly when two networks compute the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def identity(bundle: Bundle) -> str:
    """All that a picture, or an answer of the network, depends on besides the question. Hashes every weight, which takes seconds."""
    scheduler, objective = bundle.pipeline.scheduler, bundle.objective
    how = (type(scheduler).__name__, sorted(scheduler.config.items()), objective.prediction, objective.time, bundle.resolution_px)
    more = [f"{bundle.windows} windows"] if bundle.windows > 1 else []
    more += [repr(bundle.labels)] if bundle.labels else []
    return "+".join([*(fingerprint(module) for module in bundle.modules), repr(how), *more])
