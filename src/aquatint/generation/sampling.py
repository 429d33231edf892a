"""Pictures step by step: a denoiser that may be steered, and the stock scheduler that walks from noise to data.

With nothing to steer it draws what the stock pipeline draws (`drawing.py`); it shows every step on the way. One seed is one picture,
whatever it is drawn together with.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image, fromarray
from torch import Tensor

from aquatint.core.denoising import Guidance, Scene, denoiser, fold
from aquatint.core.family import Bundle, Conditioning, Conditions
from aquatint.core.process import NoiseProcess, perturb, to_output
from aquatint.core.request import Request
from aquatint.guidance.classifier_free import ClassifierFree


@dataclass(frozen=True)
class Start:
    """Where to begin but at pure noise: pictures to change (Meng et al. 2022)."""

    x_0_BCHW: Tensor
    """In the network's units; a batch of one serves all."""
    strength: float
    """Share of the steps that are taken, in (0, 1]: 1 leaves hardly anything of the picture."""


@dataclass(frozen=True)
class Step:
    """After one step."""

    number: int
    """From 1."""
    total: int
    x_0_BCHW: Tensor
    """What the pictures are expected to become, in the network's units; after the last step, what they are."""


@torch.no_grad()
def walk(
    bundle: Bundle, requests: Sequence[Request], *, guidances: Sequence[Guidance] = (), start: Start | None = None,
    precision: torch.dtype = torch.float32,
) -> Iterator[Step]:  # fmt: skip
    """Yields every step of one batch. The requests agree in all but prompt, negative prompt and seed."""
    first, device, pipeline = requests[0], bundle.device, bundle.pipeline
    shape, process = bundle.shape(first.width_px, first.height_px), bundle.objective.process
    with bundle.gathered(), _autocast(bundle, precision):
        told = bundle.family.conditions(bundle, requests)
        scene = scene_of(bundle, requests, told=told, precision=precision)
        denoise = fold(_begun(told, guidances), scene.told, scene=scene)
    bundle.family.set_steps(bundle, first.num_steps, shape=shape)
    scheduler, generators = pipeline.scheduler, [torch.Generator().manual_seed(request.seed) for request in requests]
    noise = torch.cat([torch.randn((1, *shape), generator=generator) for generator in generators]).to(device)
    timesteps = scheduler.timesteps[_first_step(scheduler, first.num_steps, start=start) :]
    z = _beginning(scheduler, timesteps, noise=noise, start=start, process=process)
    how = _step_arguments(scheduler, generators)
    for number, timestep in enumerate(timesteps, start=1):
        t_B = process.time(timestep.float()).to(device).expand(len(requests))
        x_t = _scaled(scheduler, z, timestep=timestep)
        with bundle.gathered(), _autocast(bundle, precision):
            x_0 = denoise(x_t, t_B)
        output = to_output(process, bundle.objective.prediction, x_0=x_0.to(x_t.dtype), x_t=x_t, t=t_B)
        z = scheduler.step(output, timestep, z, **how).prev_sample
        yield Step(number, len(timesteps), z if number == len(timesteps) else x_0)


def draw_steered(bundle: Bundle, requests: Sequence[Request], *, batch_size: int = 1, **how: Any) -> Iterator[Image]:
    """Yields one picture for each request, in order; `how` as for `walk`."""
    for begin in range(0, len(requests), batch_size):
        *_, last = walk(bundle, requests[begin : begin + batch_size], **how)
        yield from pictures(bundle, last.x_0_BCHW, precision=how.get("precision", torch.float32))


def pictures(bundle: Bundle, x_0_BCHW: Tensor, *, precision: torch.dtype = torch.float32) -> list[Image]:
    """The network's units to 8-bit pictures, as stock pipelines make them."""
    return [picture(each) for each in decoded(bundle, x_0_BCHW, precision=precision)]


@torch.no_grad()
def decoded(bundle: Bundle, x_0_BCHW: Tensor, *, precision: torch.dtype = torch.float32) -> Tensor:
    """The network's units to pixels (B, 3, H, W) about in [-1, 1], on the CPU."""
    with bundle.gathered(), _autocast(bundle, precision):
        return bundle.family.decode_latents(bundle, x_0_BCHW).float().cpu()


def picture(pixels_CHW: Tensor) -> Image:
    bytes_HWC = ((pixels_CHW / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return fromarray(bytes_HWC)


def scene_of(bundle: Bundle, requests: Sequence[Request], *, told: Conditions, precision: torch.dtype = torch.float32) -> Scene:
    """What guidances may know of a batch."""
    objective, family, first = bundle.objective, bundle.family, requests[0]

    def decode(x_0: Tensor) -> Tensor:
        return family.decode_latents(bundle, x_0)

    def encode(pixels: Tensor) -> Tensor:
        with torch.no_grad(), bundle.gathered(), _autocast(bundle, precision):
            return family.encode_images(bundle, pixels.to(bundle.device)).mean_BCHW

    width, height = first.width_px or bundle.resolution_px, first.height_px or bundle.resolution_px
    seeds, is_latent = [request.seed for request in requests], bundle.autoencoder is not None
    alone = denoiser(objective, family.network(bundle, told.given.to(bundle.device)))
    if told.against is None:
        return Scene(objective, decode, encode, (width, height), seeds, alone, is_latent=is_latent)
    pair = Conditioning({name: torch.cat([value, told.against[name]]).to(bundle.device) for name, value in told.given.items()})
    doubled = denoiser(objective, family.network(bundle, pair))

    def both(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        given, against = doubled(torch.cat([x_t, x_t]), torch.cat([t, t])).chunk(2)
        return given, against

    return Scene(objective, decode, encode, (width, height), seeds, alone, both, is_latent)


def _autocast(bundle: Bundle, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(bundle.device.type, precision, enabled=precision != torch.float32)


def _begun(told: Conditions, guidances: Sequence[Guidance]) -> list[Guidance]:
    """The scale that the stock pipeline would draw with comes first, unless the user has put its guidance in a place of its own."""
    is_placed = told.against is None or any(isinstance(guidance, ClassifierFree) for guidance in guidances)
    return [*guidances] if is_placed else [ClassifierFree(scale=told.scale), *guidances]


def _first_step(scheduler: Any, num_steps: int, *, start: Start | None) -> int:
    """The share of steps that is left out, as in diffusers' img2img pipelines; some schedulers call the network twice a step."""
    if start is None:
        return 0
    left_out = num_steps - max(1, int(num_steps * start.strength))
    first: int = left_out * getattr(scheduler, "order", 1)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return first


def _beginning(scheduler: Any, timesteps: Tensor, *, noise: Tensor, start: Start | None, process: NoiseProcess) -> Tensor:
    """In the scheduler's own units, which for some are alpha times larger than the network's."""
    if start is None:
        return noise * getattr(scheduler, "init_noise_sigma", 1.0)
    t_B = process.time(timesteps[:1].float()).to(noise.device).expand(len(noise))
    x_t = perturb(process, start.x_0_BCHW.to(noise).expand_as(noise), eps=noise, t=t_B)
    return x_t / _scaled(scheduler, torch.ones_like(x_t), timestep=timesteps[0])


def _scaled(scheduler: Any, z: Tensor, *, timestep: Tensor) -> Tensor:
    """The scheduler's units to the network's."""
    scaled: Tensor = scheduler.scale_model_input(z, timestep) if hasattr(scheduler, "scale_model_input") else z
    return scaled


def _step_arguments(scheduler: Any, generators: list[torch.Generator]) -> dict[str, Any]:
    """Schedulers that draw noise draw each picture's from its own seed; with `eta`, which stock pipelines set to 0, none that need not."""
    taken = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in (("generator", generators), ("eta", 0.0)) if name in taken}
