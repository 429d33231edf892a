"""The training loop. It yields events and keeps no opinion about who reads them."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from aquatint.core.randomness import SampleRandom, key
from aquatint.errors import Diverged
from aquatint.training import checkpoint
from aquatint.training.ema import MovingAverage
from aquatint.training.events import Event, Finished, Saved, Skipped, Started, Stepped, Stopped
from aquatint.training.runtime import Runtime, clip_gradients
from aquatint.training.schedules import Schedule
from aquatint.training.speed import Speed

MAX_SKIPPED, AMONG = 2, 200
"""A run that skips more of its latest steps than this has diverged."""


class MicroBatch(Protocol):
    """What the loop must know of the data; the loss module knows the rest."""

    @property
    def slots(self) -> Sequence[int]:
        """Place of each sample in the global batch of its step."""

    @property
    def weight_B(self) -> Tensor:
        """Loss weight of each sample; 0 for padding."""

    @property
    def total_weight(self) -> float:
        """Sum of the weights over the global batch, all processes and micro-batches."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def num_own(self) -> int:
        """How many of the samples, the first, are pictures to learn; the others are the prior's."""


Batches = Callable[[int], Sequence[MicroBatch]]
"""Step -> the micro-batches of this process. A pure function, so a resumed run sees what an unbroken one would."""


@dataclass
class Trainer:
    """Train `parameters` until `num_steps`.

    The loss module maps (micro-batch, random) to losses (B,). Gradients are those of the weighted mean over the global
    batch, for any split of it over processes and micro-batches.
    """

    loss_module: nn.Module
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    """Each group carries its peak rate as `peak_lr` (set from `lr` here)."""
    schedule: Schedule
    batches: Batches
    runtime: Runtime
    checkpoints_dir: Path
    num_steps: int
    seed: int = 0
    max_norm: float = 1.0
    save_every: int = 0
    """Steps between checkpoints; 0 saves at the end alone."""
    keep_checkpoints: int = 2
    precision: torch.dtype = torch.float32
    """Of the forward pass (autocast); the trained tensors stay float32."""
    average: MovingAverage | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    should_stop: Callable[[], bool] = lambda: False
    """Asked once a step; the state is saved before the loop ends."""
    step: int = 0

    def __post_init__(self) -> None:
        self._names = {id(p): name for name, p in self.parameters.items()}
        for group in self.optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        self._begun = checkpoint.numbers(self.optimizer)
        self._switch("train")

    def run(self) -> Iterator[Event]:
        """Yields `Started`, one `Stepped` or `Skipped` a step, `Saved`, and `Finished` or `Stopped`.

        Closing the iterator early saves the state. Raises `Diverged` when the loss stays not finite.
        """
        module, begun, saved_at = self.runtime.distribute(self.loss_module), time.perf_counter(), self.step
        yield Started(step=self.step, num_steps=self.num_steps, num_trainable=sum(p.numel() for p in self.parameters.values()))
        latest: deque[bool] = deque([False], maxlen=AMONG)
        speed = Speed()
        try:
            while self.step < self.num_steps:
                event, asked_to_stop = self._step(module)
                speed.take(event)
                latest.append(isinstance(event, Skipped))
                if sum(latest) > MAX_SKIPPED:
                    raise Diverged(self.step, [name for batch in self.batches(self.step - 1) for name in batch.names], self.precision)
                stops_here = asked_to_stop and self.step < self.num_steps
                path = None
                if stops_here or (self._is_due() and not latest[-1]):
                    saved_at = self.step  # also if it cannot be: then not again on the way out
                    path = self.save()
                yield event  # after the save: what others do with the event, such as drawing, may fail
                if path:
                    yield Stopped(step=self.step, path=path) if stops_here else Saved(step=self.step, path=path)
                if stops_here:
                    return
            seconds = time.perf_counter() - begun
            yield Finished(step=self.step, seconds=seconds, measures=speed.measures(seconds, self.runtime.peak_gib()))
        finally:
            if saved_at != self.step and not latest[-1]:
                self.save()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the trained tensors hold their moving average, if the run or its optimizer keeps one."""
        self._switch("eval")
        try:
            with self.average.in_place() if self.average else nullcontext():
                yield
        finally:
            self._switch("train")

    def _switch(self, mode: Literal["train", "eval"]) -> None:
        """Optimizers without a schedule step from other weights than those that they find best (Defazio et al. 2024)."""
        if hasattr(self.optimizer, mode):
            getattr(self.optimizer, mode)()

    def save(self) -> Path:
        """Written by one process; every process holds the same weights."""
        if self.runtime.is_main:
            checkpoint.save(self._state(), self.checkpoints_dir)
            checkpoint.prune(self.checkpoints_dir, self.keep_checkpoints)
        return checkpoint.directory(self.checkpoints_dir, self.step)

    def restore(self, state: checkpoint.State) -> None:
        """Go on from a saved state."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state.trained[name])
        checkpoint.restore_optimizer(self.optimizer, self._names, tensors=state.optimizer)
        if self.average:
            self.average.restore(state.average)
        self.step = state.step

    def _is_due(self) -> bool:
        return self.step == self.num_steps or (self.save_every > 0 and self.step % self.save_every == 0)

    def _state(self) -> checkpoint.State:
        optimizer = checkpoint.optimizer_tensors(self.optimizer, self._names, begun=self._begun)
        average = self.average.average if self.average else {}
        return checkpoint.State(step=self.step, trained=dict(self.parameters), optimizer=optimizer, average=average, facts=self.facts)

    def _step(self, module: nn.Module) -> tuple[Event, bool]:
        """One optimizer step over all micro-batches of this process."""
        begun = time.perf_counter()
        factor = self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        batches = self.batches(self.step)
        losses = self._accumulate(module, batches)
        norm = clip_gradients(self.parameters.values(), self.max_norm)
        facts = torch.cat([losses, torch.tensor([float(self.should_stop())], device=losses.device)])
        loss_value, own, prior, stops = self.runtime.total(facts).tolist()
        is_finite = math.isfinite(loss_value) and math.isfinite(float(norm))
        if is_finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if not is_finite:
            return Skipped(step=self.step, loss=loss_value, gradient_norm=float(norm)), stops > 0
        if self.average:
            self.average.update(self.step)
        rate, seconds = self.optimizer.param_groups[0]["lr"], time.perf_counter() - begun
        num_images = sum(len(batch.slots) for batch in batches) * self.runtime.num_processes
        apart = {"own_loss": own, "prior_loss": prior} if any(batch.num_own < len(batch.slots) for batch in batches) else {}
        event = Stepped(
            step=self.step, loss=loss_value, learning_rate=rate, gradient_norm=float(norm), seconds=seconds, num_images=num_images, **apart
        )  # fmt: skip
        return event, stops > 0

    def _accumulate(self, module: nn.Module, batches: Sequence[MicroBatch]) -> Tensor:
        """Add up gradients; returns this process's share of the weighted mean loss, and of it the pictures' and the prior's: (3,)."""
        total = torch.zeros(3, device=self.runtime.device)
        for index, batch in enumerate(batches):
            torch.manual_seed(key(self.seed, self.step, index, self.runtime.rank, "network"))  # dropout inside the network
            with self.runtime.micro_batch(module, is_last=index == len(batches) - 1):
                with torch.autocast(self.runtime.device.type, self.precision, enabled=self.precision != torch.float32):
                    losses = module(batch, SampleRandom(self.seed, self.step, batch.slots))
                counted = losses.float() * batch.weight_B.to(losses.device)
                loss = counted.sum() / batch.total_weight
                (loss * self.runtime.num_processes).backward()  # the processes' gradients are averaged, ours must add up
            parts = counted.detach()[: batch.num_own].sum(), counted.detach()[batch.num_own :].sum()
            total += torch.stack([loss.detach(), *(part / batch.total_weight for part in parts)])
        return total
