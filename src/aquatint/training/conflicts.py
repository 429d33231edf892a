"""Settings that do not go together, or would have no effect; seen without loading a model."""

from collections.abc import Iterator

from aquatint.config import Problem
from aquatint.training.settings import Train


def conflicts(config: Train) -> Iterator[Problem]:
    yield from _of_frozen(config)


def _of_frozen(config: Train) -> Iterator[Problem]:
    if config.frozen != "bf16":
        return
    if not config.method.keeps_base:
        yield Problem("frozen", f"method={config.method.kind} trains the base's own weights, which stay in float32; leave frozen= out")
    if config.precision in ("fp32", "no"):
        yield Problem("frozen", "weights in bf16 need a forward pass in bf16; say precision=bf16, or leave frozen= out")
