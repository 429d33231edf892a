"""One module around everything that is trained, so that one wrapper distributes it all."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from aquatint.core.family import Bundle, Conditioning, ModelFamily
from aquatint.core.randomness import SampleRandom
from aquatint.training.batch import AnyBatch


class LossModule(nn.Module):
    """Maps (batch, random) to losses (B,). The trained tensors are its only registered parameters.

    DDP synchronises the parameters of the module it wraps. Some methods train tensors outside the denoiser, so
    wrapping the denoiser alone would leave them different on every process.
    """

    def __init__(self, family: ModelFamily, bundle: Bundle, *, trained: Mapping[str, nn.Parameter]):
        super().__init__()
        self._family = family
        self._bundle = [bundle]  # inside a list the bundle's modules stay unregistered
        self.trained = nn.ParameterDict({name.replace(".", "/"): p for name, p in trained.items()})

    def forward(self, batch: AnyBatch, random: SampleRandom) -> Tensor:
        bundle = self._bundle[0]
        device = next(bundle.denoiser.parameters()).device
        network = self._family.network(bundle, batch.told(self._encode).to(device))
        return bundle.objective.losses(network, batch.lesson(bundle.objective, random).to(device))

    def _encode(self, prompts: Sequence[str]) -> Conditioning:
        """Each prompt once, however often it comes."""
        different = list(dict.fromkeys(prompts))
        told = self._family.encode_prompts(self._bundle[0], different)
        rows = [different.index(prompt) for prompt in prompts]
        return Conditioning({name: value[rows] for name, value in told.items()})
