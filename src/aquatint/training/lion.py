"""Lion (Chen et al. 2023, algorithm 2): steps of one size, in the direction of a moving average; half of AdamW's state."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lion(Optimizer):
    """Its steps do not shrink with the gradients, so it takes a rate of a third to a tenth of AdamW's."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-4, *, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # of several overloads
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step(parameters, group)
        return loss

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        (beta_1, beta_2), lr = group["betas"], group["lr"]
        for parameter in parameters:
            self.state[parameter].setdefault("average", torch.zeros_like(parameter))
        averages = [self.state[parameter]["average"] for parameter in parameters]
        gradients: list[Any] = [parameter.grad for parameter in parameters]
        directions = list(torch._foreach_sign(torch._foreach_lerp(averages, gradients, 1 - beta_1)))
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, directions, alpha=-lr)
        torch._foreach_lerp_(averages, gradients, 1 - beta_2)
