"""Samplers by short name: the stock schedulers that walk from noise to data, for bases of either process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aquatint.errors import BadSetting
from aquatint.names import nearest

if TYPE_CHECKING:
    from aquatint.core.family import Bundle

KARRAS = {"use_karras_sigmas": True}
CURVED: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {}),
    "dpm++_karras": ("DPMSolverMultistepScheduler", KARRAS),
    "dpm++_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++_singlestep": ("DPMSolverSinglestepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", KARRAS),
    "heun": ("HeunDiscreteScheduler", {}),
    "ipndm": ("IPNDMScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "kdpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "sa": ("SASolverScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""For noise that keeps the variance (Ho et al. 2020): name -> class of diffusers, and what it is told beside the base's noise levels."""
STRAIGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}),
}
"""For straight lines (Liu et al. 2022)."""
UNSHIFTED = ("FlowMatchHeunDiscreteScheduler",)
"""Those that are not told the size of the picture."""
SAMPLERS = tuple(sorted({*CURVED, *STRAIGHT}))


def switch(bundle: Bundle, name: str) -> None:
    """Another scheduler for the bundle's pipeline, at the base's own noise levels and prediction.

    `name` is one of `SAMPLERS`, or the class of a scheduler in diffusers. Raises `BadSetting` for one that there is not, or that is
    for the other process.
    """
    import diffusers

    from aquatint.core.process import RectifiedFlow

    table = STRAIGHT if isinstance(bundle.objective.process, RectifiedFlow) else CURVED
    by_class = {class_name: (class_name, settings) for class_name, settings in table.values() if not settings}
    if name not in table and name not in by_class:
        raise BadSetting(f"scheduler={name}: there is no such sampler for this base{nearest(name, table)}")
    class_name, settings = {**by_class, **table}[name]
    base = dict(bundle.pipeline.scheduler.config)
    if base.get("use_dynamic_shifting") and class_name in UNSHIFTED:
        raise BadSetting(f"scheduler={name}: this base moves its noise levels with the size of the picture, which {class_name} cannot")
    fixed = {"variance_type": "fixed_small"} if str(base.get("variance_type", "")).startswith("learned") else {}
    bundle.pipeline.scheduler = getattr(diffusers, class_name).from_config({**base, **fixed, **settings})
