"""What a method decides: which tensors are trained, how they are attached, and how they are saved on their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aquatint.config import Choice
from aquatint.registry import methods

if TYPE_CHECKING:  # settings load in milliseconds; torch is imported by the code that computes
    from torch import nn

    from aquatint.core.family import Bundle, ModelFamily


DENOISER = ("unet", "transformer")
"""Names of the pipeline's part that is the denoiser."""
NO_TRIGGER = "this method teaches the model a new word; name it: trigger=zwx"
Shapes = Mapping[str, Sequence[int]]
"""Name of a weight -> its shape."""


class Method(Choice, default_kind="lora", discover=lambda: [methods[name] for name in methods.names()]):
    """Frozen settings that act on a bundle. Subclass with `kind=` in a file of its own."""

    learns_trigger: ClassVar[bool] = False
    """Then there must be a trigger, and prompts with it do not mean what they meant to the base."""
    keeps_rest: ClassVar[bool] = False
    """Then every prompt without the trigger stays as it was, and there is nothing for a prior to keep."""
    prior_weight: ClassVar[float] = 2.0
    """What the pictures of a prior count beside 1 for the user's, when the user does not say."""
    width_power: ClassVar[float] = 1.0
    """`default_lr` is meant for Stable Diffusion's width; narrower networks get this power of their share of it more. 0: all the same."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Files that `save` writes beside the one it returns."""

    @property
    def trains_text_encoder(self) -> bool:
        """Then no prompt means what it meant to the base."""
        return False

    @property
    def keeps_base(self) -> bool:
        """Then the denoiser's own weights stay as they are, and nothing is asked of them but their products."""
        return False

    @property
    def encodes_anew(self) -> bool:
        """Then the captions are encoded at every step instead of once."""
        return self.trains_text_encoder or self.learns_trigger

    @property
    def has_several_rates(self) -> bool:
        """Then parts of what is trained learn at rates of their own (`groups`)."""
        return False

    @property
    def new_classes(self) -> tuple[str, ...]:
        """Names of those that it teaches, beside the base's own."""
        return ()

    def tells(self, told: str) -> str:
        """What the trained model is told (a `Told`), of a base that is told this."""
        return told

    def settled(self, prompts: Sequence[Sequence[str]], labels: Sequence[str]) -> Method:
        """With what follows from all that is said of each picture, and from the classes of the base. Raises `BadSetting`."""
        return self

    @property
    @abstractmethod
    def default_lr(self) -> float:
        """Peak learning rate when the user names none."""

    @abstractmethod
    def num_trained(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        """How many numbers will be trained, by the shapes of a pipeline's parts alone."""

    def num_written(self, parts: Mapping[str, Shapes], family: ModelFamily) -> int:
        """How many numbers the written file will hold."""
        return self.num_trained(parts, family)

    def misfit(self, told: str, family: ModelFamily) -> str | None:
        """Why this means nothing for a base of the family that is told this (a `Told`), and what to use instead; None where it fits."""
        if told != "text" and (self.learns_trigger or self.trains_text_encoder):
            return "it reads no text; use method=lora or method=full without a text encoder"
        if self.trains_text_encoder and not family.text_parts:
            return "its text encoder cannot be trained; leave method.text_encoder out"
        return None

    def check(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> None:
        """Raises `BadSetting` for what can only be known to go wrong when the base is there, before anything is computed."""
        return

    @abstractmethod
    def attach(self, bundle: Bundle, family: ModelFamily, *, trigger: str | None = None) -> dict[str, nn.Parameter]:
        """Freeze everything, add what is new, and return the trained parameters (float32) by name."""

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """What `attach` returned, as torch's optimizers take it: a group for each that has a rate or decay of its own.

        Beside torch's own names, `lr_factor` multiplies the group's rate, which without `lr` is the run's.
        """
        return [{"params": list(trained.values())}]

    @abstractmethod
    def save(self, bundle: Bundle, out_dir: Path, *, facts: dict[str, str]) -> Path:
        """Write what was trained, alone, in the form that stock diffusers loads; returns the file or folder."""

    def files(self, saved: Path) -> list[Path]:
        """All that `save` wrote, when it returned `saved`."""
        main = [saved] if saved.is_file() else sorted(path for path in saved.rglob("*") if path.is_file())
        return main + [saved.with_name(name) for name in self.companions]

    @abstractmethod
    def load(self, bundle: Bundle, saved: Path) -> None:
        """Put what `save` wrote onto a fresh bundle, by the stock pipeline's own loader."""

    @abstractmethod
    def loading_lines(self, pipeline: str, base: str, *, saved: str) -> list[str]:
        """Python that loads the result with diffusers alone; leaves it in `pipe`. `pipeline` is the class's name."""


def of_kind(parts: Mapping[str, Shapes], kind: Sequence[str]) -> Shapes:
    """The shapes of all parts of these names."""
    return {f"{part}.{name}": shape for part, shapes in parts.items() if part in kind for name, shape in shapes.items()}


def pipeline_lines(pipeline: str, source: str) -> list[str]:
    """Python that loads a model in float32, as `aquatint generate` does."""
    loader = "from_single_file" if source.endswith(".safetensors") else "from_pretrained"
    return [f"pipe = {pipeline}.{loader}({source!r}, dtype=torch.float32)"]
