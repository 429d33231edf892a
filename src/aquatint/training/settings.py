"""Settings of a training run. No torch here: the command line must answer at once."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from aquatint.config import Config
from aquatint.data.settings import Images
from aquatint.methods.base import Method


class Optimizer(Config):
    name: str = "adamw"
    """`adamw`, `sgd`, `adafactor`, or the dotted path of a class."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up. `constant_with_warmup` is another name for `constant`."""
    warmup_steps: int | None = Field(None, ge=0)
    """Steps over which the learning rate rises. Not given: a twentieth of the run."""
    max_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this L2 norm."""


class Loss(Config):
    min_snr_gamma: PositiveFloat | None = 5.0
    """Cap on the weight of easy noise levels (Hang et al. 2023); `null` for the plain mean squared error."""
    caption_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of samples shown without their caption."""


class Prior(Config):
    num: int | None = Field(None, ge=0)
    """Pictures of the base's own that are drawn once and shown beside yours, so that it keeps what it knew; 0 for none.
    Not given: 64 for up to 100 pictures with a trigger. With `prior.data`: how many of those, drawn by the seed; not given: all."""
    data: Path | None = None
    """Pictures of yours to show instead, such as other things of the same class (regularisation pictures): a folder or another
    source, read as `data` is, with the captions beside them. The network is held to what the base says about them."""
    weight: float = Field(2.0, ge=0)
    """What they count, beside 1 for your pictures: more keeps more and learns less; 0 is a run without them."""
    scale: float = Field(3.0, ge=0)
    """Guidance scale at which they are drawn."""


class Samples(Config):
    prompts: tuple[str, ...] = ()
    """What is drawn before, during and after training. Not given: derived from trigger and captions."""
    every: int | None = Field(None, ge=0)
    """Steps between samples; 0 for none. Not given: a quarter of the run."""
    num_steps: PositiveInt = 30
    """Denoising steps of a sample."""
    scale: float = Field(5.0, ge=0)
    """Guidance scale: how strongly a sample follows its prompt."""
    seed: int = 42
    """The first sample's seed; the next ones count up."""


class Validation(Config):
    share: float = Field(0.0, ge=0, lt=1)
    """Share of the pictures that is held out to measure the loss on. 0 measures on the training pictures."""
    every: int | None = Field(None, ge=0)
    """Steps between measurements; 0 for none. Not given: a tenth of the run."""


class Checkpoints(Config):
    every: int | None = Field(None, ge=0)
    """Steps between checkpoints; 0 saves at the end alone. Not given: a quarter of the run, at most 500."""
    keep: PositiveInt = 2
    """How many of the newest checkpoints stay."""


class Train(Config):
    """Settings of a run; `config.yaml` in its folder repeats it."""

    data: Path
    """Folder of pictures, with captions beside them if there are any; or a list, dataset, tar archives or a mix (docs/data.md)."""
    base: str = "pocket"
    """The model to start from: `pocket` (built in), a diffusers folder, a .safetensors checkpoint, or a Hub id."""
    family: str = "auto"
    """The base's architecture; `auto` finds it in the base's own files."""
    method: Method = Field(default="lora", validate_default=True)
    """What is trained: `lora` (small file), `pivotal` (that, and the trigger as a word of its own), `full`
    (all weights) or `class_conditional` (new classes, for bases that read no text)."""
    trigger: str | None = None
    """A rare word that shall stand for what the pictures show, such as `zwx`."""
    out: Path | None = None
    """Folder of the run. Not given: `runs/` and the name of the data folder."""
    steps: PositiveInt | None = None
    """Optimizer steps. Not given: derived from the number of pictures."""
    batch_size: PositiveInt | None = None
    """Pictures in one forward pass of one process."""
    accumulate: PositiveInt = 1
    """Forward passes per step; a step sees batch_size x accumulate x processes pictures."""
    lr: PositiveFloat | None = None
    """Peak learning rate. Not given: the method's, scaled to the width of the base."""
    seed: int = Field(42, ge=0)
    """Names all randomness of the run; the same seed on the CPU gives the same file."""
    precision: Literal["auto", "fp32", "bf16", "no"] = "auto"
    """Of the forward pass; the trained weights are float32 always. `auto` measures the device."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the trained weights, which is then what is sampled and saved."""
    resume: bool = False
    """Go on from the newest whole checkpoint in `out`; `latest` means the same."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""
    min_free_gib: float = Field(0.2, ge=0)
    """Room on the disk of `out` without which no run is begun."""
    images: Images = Images()
    optimizer: Optimizer = Optimizer()
    loss: Loss = Loss()
    prior: Prior = Prior()
    samples: Samples = Samples()
    validation: Validation = Validation()
    checkpoints: Checkpoints = Checkpoints()

    @property
    def prior_images(self) -> Images:
        """How the pictures of `prior.data` are read and shown: each in one way, with its own caption, all of one shape."""
        text = {"template": None, "caption_shuffle": False, "caption_variants": 1, "allow_missing_captions": True}
        return self.images.model_copy(update={**text, "buckets": False, "crop": "centre", "flip": False, "masks": "ignore"})

    @field_validator("resume", mode="before")
    @classmethod
    def _latest(cls, value: object) -> object:
        return True if value == "latest" else value

    main: ClassVar = (
        "data", "base", "method", "method.rank", "trigger", "out", "steps", "batch_size", "lr", "seed", "images.resolution",
        "samples.prompts",
    )  # fmt: skip
    positional: ClassVar = ("data",)
    aliases: ClassVar = {
        "pretrained_model_name_or_path": "base",
        "train_data_dir": "data",
        "instance_data_dir": "data",
        "output_dir": "out",
        "resolution": "images.resolution",
        "random_flip": "images.flip",
        "center_crop": "images.crop=centre",
        "caption_column": "images.caption_column",
        "train_batch_size": "batch_size",
        "gradient_accumulation_steps": "accumulate",
        "learning_rate": "lr",
        "max_train_steps": "steps",
        "lr_scheduler": "optimizer.schedule",
        "lr_warmup_steps": "optimizer.warmup_steps",
        "max_grad_norm": "optimizer.max_norm",
        "snr_gamma": "loss.min_snr_gamma",
        "mixed_precision": "precision",
        "rank": "method.rank",
        "train_text_encoder": "method.text_encoder",
        "class_data_dir": "prior.data",
        "num_class_images": "prior.num",
        "prior_loss_weight": "prior.weight",
        "checkpointing_steps": "checkpoints.every",
        "checkpoints_total_limit": "checkpoints.keep",
        "validation_prompt": "samples.prompts",
        "prompts": "samples.prompts",
        "resume_from_checkpoint": "resume",
    }
