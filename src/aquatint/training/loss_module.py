"""One module around everything that is trained, so that one wrapper distributes it all."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from aquatint.core.family import Bundle, Conditioning, ModelFamily
from aquatint.core.randomness import SampleRandom
from aquatint.training.batch import AnyBatch
from aquatint.training.contexts import Contexts


class LossModule(nn.Module):
    """Maps (batch, random) to losses (B,). The trained tensors are its only registered parameters.

    DDP synchronises the parameters of the module it wraps. Some methods train tensors outside the denoiser, so
    wrapping the denoiser alone would leave them different on every process.
    """

    def __init__(
        self, family: ModelFamily, bundle: Bundle, *, trained: Mapping[str, nn.Parameter], contexts: Contexts | None = None
    ):  # fmt: skip
        super().__init__()
        self._family, self._contexts = family, contexts
        self._bundle = [bundle]  # inside a list the bundle's modules stay unregistered
        self.trained = nn.ParameterDict({name.replace(".", "/"): p for name, p in trained.items()})

    def forward(self, batch: AnyBatch, random: SampleRandom) -> Tensor:
        bundle = self._bundle[0]
        device = next(bundle.denoiser.parameters()).device
        network = self._family.network(bundle, batch.told(self._encode).to(device))
        losses = bundle.objective.losses(network, batch.lesson(bundle.objective, random).to(device))
        return losses if self._contexts is None else losses + self._beside(self._contexts, random.step)

    def _beside(self, contexts: Contexts, step: int) -> Tensor:
        """The same for every sample of a step, so that it counts once however the step is split."""
        with torch.autocast(self._bundle[0].device.type, enabled=False):
            return contexts.loss(self._encode, step)

    def _encode(self, prompts: Sequence[str]) -> Conditioning:
        """Each prompt once, however often it comes."""
        different = list(dict.fromkeys(prompts))
        told = self._family.encode_prompts(self._bundle[0], different)
        rows = [different.index(prompt) for prompt in prompts]
        return Conditioning({name: value[rows] for name, value in told.items()})
