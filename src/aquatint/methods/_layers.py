"""PEFT's adapter layers without the detours that plain adapters do not need.

PEFT casts the input to the adapter's precision (which autocast then undoes) and multiplies by a scale that is mostly 1. In a
small network those passes over memory cost half as much as the adapter itself. Outputs and gradients are the same to the bit.
"""

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Conv2d, Linear
from torch import Tensor, nn


class _Lean:
    """W x + s B A x for one adapter, in one precision or inside autocast; all else is PEFT's business."""

    def forward(self: Any, x: Tensor) -> Tensor:
        output: Tensor
        if not self._is_plain(x):
            output = super().forward(x)  # type: ignore[misc]  # that of PEFT's layer, which comes next in order
            return output
        (name,) = self.active_adapters
        change, scale = self.lora_B[name](self.lora_A[name](x)), self.scaling[name]
        output = self.base_layer(x) + (change if scale == 1 else change * scale)
        return output


    def _is_plain(self: Any, x: Tensor) -> bool:
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1 or self.lora_variant:
            return False
        (name,) = self.active_adapters
        is_one_precision = x.dtype == self.lora_A[name].weight.dtype or torch.is_autocast_enabled(x.device.type)
        return is_one_precision and isinstance(self.lora_dropout[name], nn.Identity)


class LeanLinear(_Lean, Linear):  # type: ignore[misc]  # PEFT is untyped
    pass


class LeanConv2d(_Lean, Conv2d):  # type: ignore[misc]
    pass


def lean(config: LoraConfig) -> LoraConfig:
    """The same settings, for layers of this file."""
    config._register_custom_module({nn.Linear: LeanLinear, nn.Conv2d: LeanConv2d})
    return config
