"""Proof that a written file does what the trained model does: re-load it the stock way, and compare outputs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aquatint.core.family import Bundle, ModelFamily
from aquatint.core.randomness import SampleRandom
from aquatint.core.rounding import in_float32
from aquatint.errors import Unproven
from aquatint.methods.base import Method

PROMPT = "a photo"
TIMES = (0.2, 0.5, 0.8)
TOLERANCE = 1e-3
"""Of the output's own size: room for the order of additions, not for a wrong scale."""


@dataclass(frozen=True)
class Proof:
    largest_difference: float
    """Between trained model and re-loaded file, as a share of the output's root mean square."""
    changed_by: float
    """Between base and re-loaded file, likewise."""

    def sentence(self) -> str:
        return (
            f"proven: the file, loaded again by stock diffusers, differs from the trained model by {self.largest_difference:.1e} "
            f"and from the base by {self.changed_by:.1e} of the output's size"
        )


def question(bundle: Bundle, trigger: str | None) -> str:
    """What to compare answers to: a prompt with the trigger, or the newest class, for that may be all that was trained."""
    if bundle.told != "text":
        return bundle.labels[-1] if bundle.labels else ""
    return f"{PROMPT} of {trigger}" if trigger else PROMPT


def outputs(bundle: Bundle, family: ModelFamily, *, prompt: str = PROMPT) -> Tensor:
    """The network's answer to one question, always the same, at three times, in float32 on the CPU."""
    device = bundle.device
    side = bundle.resolution_px // bundle.side_multiple * bundle.side_multiple
    was_training = [m for m in bundle.modules if m.training]
    for module in was_training:
        module.eval()
    with bundle.gathered(), torch.no_grad(), in_float32(bundle.denoiser):
        shape = family.encode_images(bundle, torch.zeros(1, 3, side, side, device=device)).mean_BCHW.shape[1:]
        x_t = SampleRandom(0, 0, range(len(TIMES))).normal("proof", shape).to(device)
        told = family.encode_prompts(bundle, [prompt] * len(TIMES))
        answer = family.network(bundle, told)(x_t, torch.tensor(TIMES, device=device))
    for module in was_training:
        module.train()
    return answer.float().cpu()


def prove(
    saved: Path, *, fresh: Bundle, family: ModelFamily, method: Method, base: Tensor, trained: Tensor, prompt: str = PROMPT
) -> Proof:
    """Load `saved` onto `fresh` by the stock loader; `base` and `trained` are `outputs` of before and after training.

    Raises `Unproven` when the file's output is not the trained model's, or is the base's.
    """
    method.load(fresh, saved)
    return compare(saved, loaded=outputs(fresh, family, prompt=prompt), base=base, trained=trained)


def compare(saved: Path, *, loaded: Tensor, base: Tensor, trained: Tensor) -> Proof:
    """The answers of `saved` on a fresh base, of the base, and of the trained model. Raises as `prove`."""
    size = trained.square().mean().sqrt()
    proof = Proof(float((loaded - trained).abs().max() / size), float((loaded - base).abs().max() / size))
    if proof.largest_difference > TOLERANCE:
        difference = f"{proof.largest_difference:.2%}"
        kept = "the last checkpoint holds the trained weights"
        raise Unproven(f"{saved}, loaded again, differs from the trained model by {difference}; {kept}")
    if proof.changed_by <= proof.largest_difference:
        raise Unproven(f"{saved}, loaded again, changes nothing: the run did not train, or the file does not reach the model")
    return proof
