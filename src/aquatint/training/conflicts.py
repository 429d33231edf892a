"""Settings that do not go together, or would have no effect; seen without loading a model."""

from collections.abc import Iterator

from aquatint.config import Problem
from aquatint.training.settings import Loss, Train


def conflicts(config: Train) -> Iterator[Problem]:
    yield from _of_frozen(config)
    yield from _of_loss(config.loss)


def _of_frozen(config: Train) -> Iterator[Problem]:
    if config.frozen != "bf16":
        return
    if not config.method.keeps_base:
        yield Problem("frozen", f"method={config.method.kind} trains the base's own weights, which stay in float32; leave frozen= out")
    if config.precision in ("fp32", "no"):
        yield Problem("frozen", "weights in bf16 need a forward pass in bf16; say precision=bf16, or leave frozen= out")


def _of_loss(loss: Loss) -> Iterator[Problem]:
    if loss.delta and loss.kind == "mse":
        yield Problem("loss.delta", "the plain square has none; add loss.kind=huber, or leave it out")
    has_gamma = loss.weighting in (None, "min_snr", "soft_min_snr")
    if loss.weighting and has_gamma and loss.min_snr_gamma is None:
        yield Problem("loss.min_snr_gamma", f"null stands for the plain error, and loss.weighting={loss.weighting} for another; give one")
    if isinstance(loss.min_snr_gamma, float) and not has_gamma:
        yield Problem("loss.min_snr_gamma", f"loss.weighting={loss.weighting} has none; leave one of them out")
    numbers = {"logit_normal": ("mean", "std"), "mode": ("mode_scale",)}
    for name in ("mean", "std", "mode_scale"):
        if loss.times and getattr(loss, name) is not None and name not in numbers.get(loss.times, ()):
            yield Problem(f"loss.{name}", f"loss.times={loss.times} has none; leave one of them out")
