"""Settings that do not go together, or would have no effect; seen without loading a model."""

from collections.abc import Iterator

from aquatint.config import Problem
from aquatint.families._quantised import missing
from aquatint.training.optimizers import AVERAGES, FINDS_RATE, problem
from aquatint.training.settings import Loss, Optimizer, Train


def conflicts(config: Train) -> Iterator[Problem]:
    yield from _of_frozen(config)
    yield from _of_quantise(config)
    yield from _of_loss(config.loss)
    yield from _of_optimizer(config)
    yield from _of_schedule(config.optimizer)


def _of_frozen(config: Train) -> Iterator[Problem]:
    if config.frozen != "bf16":
        return
    if not config.method.keeps_base:
        yield Problem("frozen", f"method={config.method.kind} needs the base's own weights to the last bit; leave frozen= out")
    if config.precision in ("fp32", "no"):
        yield Problem("frozen", "weights in bf16 need a forward pass in bf16; say precision=bf16, or leave frozen= out")


def _of_quantise(config: Train) -> Iterator[Problem]:
    if config.quantise is None:
        return
    if package := missing(config.quantise):
        yield Problem("quantise", f"{config.quantise} needs {package}; pip install 'aquatint[quant]'")
    if not config.method.keeps_base:
        yield Problem("quantise", f"method={config.method.kind} needs the base's own weights to the last bit; leave it out")
    if config.frozen == "bf16":
        yield Problem("quantise", f"the base's weights are held in {config.quantise} or, by frozen=bf16, in bf16; leave one of them out")
    if config.base.endswith(".safetensors"):
        yield Problem("quantise", "a single file is not quantised while it is read; give base= as a diffusers folder")


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


def _of_optimizer(config: Train) -> Iterator[Problem]:
    name = config.optimizer.name
    if told := problem(name):
        yield Problem("optimizer.name", told)
    if name == FINDS_RATE and config.method.has_several_rates:
        yield Problem("optimizer.name", f"{name} finds one rate for all, and this method={config.method.kind} has several; use adamw")
    if name == AVERAGES and config.ema:
        yield Problem("ema", f"{name} keeps an average of its own; leave ema= out")
    if name == AVERAGES and not config.optimizer.schedule.startswith("constant"):
        yield Problem("optimizer.schedule", f"{name} takes the place of one; say optimizer.schedule=constant")


def _of_schedule(optimizer: Optimizer) -> Iterator[Problem]:
    """One is what the scripts of others pass to every schedule."""
    if (optimizer.num_cycles or 1) != 1 and optimizer.schedule != "cosine_with_restarts":
        yield Problem("optimizer.num_cycles", f"{optimizer.schedule} falls once; say optimizer.schedule=cosine_with_restarts")
    if (optimizer.power or 1) != 1 and optimizer.schedule != "polynomial":
        yield Problem("optimizer.power", f"{optimizer.schedule} has none; say optimizer.schedule=polynomial")
