"""Settings of a training run. No torch here: the command line must answer at once."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from aquatint.config import Config
from aquatint.data.settings import Images
from aquatint.methods.base import Method

DELTA, GAMMA = 0.1, 5.0


class Optimizer(Config):
    name: str = "adamw"
    """`adamw`, `sgd`, `adafactor`, `lion`; with packages of their own `adamw8bit`, `prodigy`, `schedule_free`; or a dotted class path."""
    weight_decay: float | None = Field(None, ge=0)
    """Decoupled weight decay. Not given: 0.01, where the optimizer has one."""
    options: dict[str, bool | int | float | tuple[float, ...]] = Field({})
    """Its further arguments, such as `optimizer.options.betas=[0.9,0.95]`."""
    schedule: Literal["cosine", "linear", "polynomial", "cosine_with_restarts", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up. `constant_with_warmup` is another name for `constant`."""
    num_cycles: PositiveInt | None = None
    """How often `cosine_with_restarts` falls. Not given: once."""
    power: PositiveFloat | None = None
    """Of `polynomial`: the rate falls as this power of what is left. Not given: 1, a straight line."""
    warmup_steps: int | None = Field(None, ge=0)
    """Steps over which the learning rate rises. Not given: a twentieth of the run."""
    max_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this L2 norm."""


class Loss(Config):
    kind: Literal["mse", "huber", "smooth_l1"] = "mse"
    """What an error costs: its square, or beyond `loss.delta` only as much as its size."""
    delta: PositiveFloat | None = None
    """Where `huber` and `smooth_l1` become straight. Not given: 0.1."""
    weighting: Literal["even", "min_snr", "soft_min_snr", "debiased", "bell"] | None = None
    """How much each noise level counts. Not given: `min_snr`; `even` where pictures become noise on straight lines (SD3, FLUX) or no
    signal is left at the end."""
    min_snr_gamma: PositiveFloat | Literal["auto"] | None = "auto"
    """Cap on the weight of easy noise levels (Hang et al. 2023). `auto`: 5, where it applies; `null` for the plain error."""
    times: Literal["uniform", "logit_normal", "mode", "cosmap"] | None = None
    """Which noise levels are trained more often. Not given: as the family was trained."""
    mean: float | None = None
    """Of `logit_normal`: above 0 for more noise. (`--logit_mean` of diffusers' scripts counts the other way round, and is read so.)"""
    std: PositiveFloat | None = None
    """Of `logit_normal`."""
    mode_scale: float | None = Field(None, ge=-1, le=1.75)
    """Of `mode`: above 0 for more of the middle, below for more of both ends."""
    shift: PositiveFloat | None = None
    """Above 1 for more noise, as larger pictures need. Not given: that of the base's scheduler, or 1."""
    noise_offset: float = Field(0.0, ge=0, le=1)
    """Share of noise that is the same all over a picture (Guttenberg 2023): very dark and very bright pictures are learned better."""
    zero_terminal_snr: bool = False
    """Let the noise end without a trace of the picture (Lin et al. 2023), in training and in drawing: for bases that predict v."""
    caption_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of samples shown without their caption."""

    @model_validator(mode="before")
    @classmethod
    def _of_scripts(cls, tree: object) -> object:
        """`none` of diffusers' scripts draws all times alike, and a time of 1 is data there."""
        if not isinstance(tree, dict):
            return tree
        own = {name: value for name, value in tree.items() if name != "logit_mean"}
        if own.get("times") == "none":
            own["times"] = "uniform"
        if "logit_mean" not in tree:
            return own
        if "mean" in tree:
            raise ValueError("mean and logit_mean say the same in two ways; give one")
        return own | {"mean": -float(tree["logit_mean"])}


class Prior(Config):
    num: int | None = Field(None, ge=0)
    """Pictures of the base's own that are drawn once and shown beside yours, so that it keeps what it knew; 0 for none.
    Not given: 64 for up to 100 pictures with a trigger, 100 where there is a `prior.prompt`. With `prior.data`: how many of those,
    drawn by the seed; not given: all."""
    prompt: str | None = None
    """What all of them show, such as `a photo of a dog`: the class of what you teach. Not given: your captions, with common words of
    the base in the trigger's place."""
    preserve: Literal["outputs", "pictures"] = "outputs"
    """What is held on to. outputs: what the base says about them, with the prompt and without (Li & Hoiem 2016). pictures: they are
    learned as if they were true, as DreamBooth does (Ruiz et al. 2023)."""
    data: Path | None = None
    """Pictures of yours to show instead, such as other things of the same class (regularisation pictures): a folder or another
    source, read as `data` is, with the captions beside them. With a `prior.prompt` the base draws those of `prior.num` that are
    missing there."""
    weight: float | None = Field(None, ge=0)
    """What they count, beside 1 for your pictures: more keeps more and learns less; 0 is a run without them. Not given: 2, or 4 for
    method=full, which changes most."""
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
    """What is trained: `lora` (small file), `pivotal` (that, and the trigger as a word of its own), `textual_inversion` (the word alone),
    `full` (all weights) or `class_conditional` (new classes, for bases that read no text). `dreambooth` and `dreambooth-lora` are
    full and LoRA beside pictures of the class (`prior.prompt`)."""
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
    frozen: Literal["auto", "fp32", "bf16"] = "auto"
    """How the denoiser's own weights are held where they stay as they are. `auto`: `bf16` where the forward pass is in bf16, which would
    round them at every use; half the memory, and the same numbers."""
    quantise: Literal["nf4", "int8", "fp8"] | None = None
    """Hold the denoiser's own weights in so few bits, where they stay as they are; needs a GPU and `pip install 'aquatint[quant]'`."""
    gradient_checkpointing: bool = False
    """Compute layers a second time instead of keeping their results: less memory, about a third more time, the same numbers."""
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
    export: tuple[Literal["kohya"], ...] = ()
    """Further forms of the adapter's file, each loaded again as a proof: `kohya` for ComfyUI, A1111 and Forge."""

    @property
    def prior_weight(self) -> float:
        return self.method.prior_weight if self.prior.weight is None else self.prior.weight

    @property
    def prior_images(self) -> Images:
        """How the pictures of `prior.data` are read and shown: each in one way, with its own caption or the prompt, all of one shape."""
        text = {"template": self.prior.prompt, "caption_shuffle": False, "caption_variants": 1, "allow_missing_captions": True}
        return self.images.model_copy(update={**text, "buckets": False, "crop": "centre", "flip": False, "masks": "ignore"})

    @field_validator("resume", mode="before")
    @classmethod
    def _latest(cls, value: object) -> object:
        return True if value == "latest" else value

    main: ClassVar = (
        "data", "base", "method", "method.rank", "trigger", "out", "steps", "batch_size", "lr", "seed", "images.resolution",
        "samples.prompts",
    )  # fmt: skip
    presets: ClassVar = {
        "method": {
            "dreambooth": {"method": "full", "prior.preserve": "pictures", "prior.weight": 1.0},
            "dreambooth-lora": {"method": "lora", "prior.preserve": "pictures", "prior.weight": 1.0},
        }
    }
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
        "lr_num_cycles": "optimizer.num_cycles",
        "lr_power": "optimizer.power",
        "use_8bit_adam": "optimizer.name=adamw8bit",
        "adam_weight_decay": "optimizer.weight_decay",
        "max_grad_norm": "optimizer.max_norm",
        "snr_gamma": "loss.min_snr_gamma",
        "weighting_scheme": "loss.times",
        "logit_mean": "loss.logit_mean",
        "logit_std": "loss.std",
        "mode_scale": "loss.mode_scale",
        "noise_offset": "loss.noise_offset",
        "mixed_precision": "precision",
        "rank": "method.rank",
        "train_text_encoder": "method.text_encoder",
        "instance_prompt": "images.template",
        "with_prior_preservation": "prior.preserve=pictures",
        "class_data_dir": "prior.data",
        "class_prompt": "prior.prompt",
        "num_class_images": "prior.num",
        "prior_loss_weight": "prior.weight",
        "checkpointing_steps": "checkpoints.every",
        "checkpoints_total_limit": "checkpoints.keep",
        "validation_prompt": "samples.prompts",
        "prompts": "samples.prompts",
        "resume_from_checkpoint": "resume",
    }
