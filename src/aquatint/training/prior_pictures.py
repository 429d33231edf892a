"""The pictures of a prior: the user's, then as many of the base's own as are missing; drawn once, counted, kept in the cache alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aquatint.core.request import Request
from aquatint.data.records import ImageRecord
from aquatint.errors import BadSetting
from aquatint.training.encoding import Encoding
from aquatint.training.prior import NUM_STEPS, Asking, Pictured, Prior, pictured, prompts, taught
from aquatint.training.runtime import Runtime
from aquatint.training.settings import Train

TRUE_STEPS = 30
"""Denoising steps of pictures that are learned as they are."""


def num_asked(config: Train, records: Sequence[ImageRecord], *, words: Sequence[str]) -> int | None:
    """How many pictures the prior shall have, the user's `records` among them; None where nothing says, 0 for no prior."""
    prior = config.prior
    if not config.prior_weight or config.method.keeps_rest:
        return 0
    if records:
        return max(len(records), prior.num or 0)
    if words or prior.prompt:
        return prior.num
    if prior.num:
        raise BadSetting(f"prior.num={prior.num}: this base has no words to draw other things by; set prior.num=0")
    return 0


@dataclass(frozen=True)
class PriorPictures:
    """How a run comes to its prior."""

    config: Train
    encoding: Encoding
    asking: Asking
    runtime: Runtime

    def prior(self, records: Sequence[ImageRecord], *, num: int, side_px: int, captions: Sequence[str], words: Sequence[str]) -> Prior:
        """`num` pictures in all. `captions` are those of the pictures to learn, from which prompts are made where there is none."""
        config = self.config
        yours = pictured(records, replace(self.encoding, images=config.prior_images), side_px=side_px) if records else []
        wanted = self._wanted(num - len(yours), captions=captions, words=words)
        if yours:  # of one size, so that they fit into one batch
            wanted = [replace(request, width_px=side_px, height_px=side_px) for request in wanted]
        every = {*self.encoding.empty, *(picture.prompt for picture in yours), *(request.prompt for request in wanted)}
        told = self.encoding.conditionings(sorted(every))  # all processes together
        with self.runtime.first_alone():
            pictures: list[Pictured] = [*yours, *self.asking.drawn(wanted)]
            if config.prior.preserve == "pictures":
                return taught(pictures, told, seed=config.seed)
            return self.asking.prior_on(pictures, told, seed=config.seed)

    def _wanted(self, num: int, *, captions: Sequence[str], words: Sequence[str]) -> list[Request]:
        config = self.config
        num_steps = TRUE_STEPS if config.prior.preserve == "pictures" else NUM_STEPS
        drawn = [config.prior.prompt] * num if config.prior.prompt else []
        drawn = drawn or prompts(captions, trigger=config.trigger, words=words, num=num, seed=config.seed)
        return [Request(prompt, index, num_steps=num_steps, scale=config.prior.scale) for index, prompt in enumerate(drawn)]
