"""One module around everything that is trained, so that one wrapper distributes it all."""

from collections.abc import Mapping

from torch import Tensor, nn

from aquatint.core.family import Bundle, Conditioning, ModelFamily
from aquatint.core.randomness import SampleRandom
from aquatint.training.batch import Batch


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

    def forward(self, batch: Batch, random: SampleRandom) -> Tensor:
        bundle = self._bundle[0]
        device = next(bundle.denoiser.parameters()).device
        mean, std = batch.encoded.mean_BCHW.to(device).float(), batch.encoded.std_BCHW.to(device).float()
        x_0 = mean + std * random.normal("posterior", mean.shape[1:]).to(device)
        network = self._family.network(bundle, self._conditioning(batch).to(device))
        return bundle.objective.losses(network, x_0, random=random)

    def _conditioning(self, batch: Batch) -> Conditioning:
        return batch.conditioning or self._family.encode_prompts(self._bundle[0], batch.prompts)
