"""The only file that knows Accelerate: devices, processes, and the exchange of gradients."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn

from aquatint.core.memory import keep_freed_memory
from aquatint.data.cache import Crew

PATIENCE = timedelta(hours=12)
"""How long processes wait while the first one encodes a large set or draws."""


class Runtime:
    """One process of a run, alone or among others (`accelerate launch`)."""

    def __init__(self, *, cpu: bool = False):
        patience = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[patience])
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def device(self) -> torch.device:
        return self._accelerator.device

    @property
    def rank(self) -> int:
        return self._accelerator.process_index

    @property
    def num_processes(self) -> int:
        return self._accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self._accelerator.is_main_process

    def distribute(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over the processes."""
        return self._accelerator.prepare_model(module) if self.num_processes > 1 else module

    def micro_batch(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Around forward and backward: gradients are exchanged on the last micro-batch of a step alone."""
        return nullcontext() if is_last or self.num_processes == 1 else self._accelerator.no_sync(module)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        return values if self.num_processes == 1 else self._accelerator.reduce(values, "sum")

    def peak_gib(self) -> float:
        """The most memory held so far: of the GPU, or of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        return resident_peak_bytes() / 2**30

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    @property
    def crew(self) -> Crew:
        """All processes, for what they fill together."""
        return Crew(self.rank, self.num_processes, self.wait)

    def first_alone(self) -> AbstractContextManager[None]:
        """Inside, the first process goes ahead and fills the cache; the others read it afterwards."""
        ahead: AbstractContextManager[None] = self._accelerator.main_process_first()
        return ahead

    def close(self) -> None:
        """Leave the process group together; without it the interpreter may abort on exit."""
        self.wait()
        self._accelerator.end_training()


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale gradients to at most `max_norm` (L2, over all of them); returns the norm before."""
    return nn.utils.clip_grad_norm_(list(parameters), max_norm, foreach=True)


def resident_peak_bytes() -> int:
    """Largest resident size of this process; what it holds now where the system does not keep the peak."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().rss)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
