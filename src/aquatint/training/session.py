"""One run from checked settings to a proven file: puts the parts together, and holds no mathematics."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Literal

import torch

from aquatint import stopping
from aquatint.atomic import replacing
from aquatint.core.family import Bundle, ModelFamily
from aquatint.core.randomness import key
from aquatint.core.rounding import hold, opened, roundable
from aquatint.data import sources
from aquatint.data.buckets import Shown, samples
from aquatint.data.cache import TensorCache
from aquatint.data.kept import default_root
from aquatint.data.plan import BatchPlan
from aquatint.errors import BadRun
from aquatint.evaluation import proof
from aquatint.families._quantised import quantised
from aquatint.families._sources import lasting
from aquatint.recognition import recognise
from aquatint.sinks import log
from aquatint.ticker import Ticker
from aquatint.training import initialiser, notices, objectives, provenance, validation
from aquatint.training.batch import AnyBatch, BatchSource, Examples, joined
from aquatint.training.contexts import Contexts, contexts_of
from aquatint.training.defaults import Derived, Given, derive
from aquatint.training.ema import MovingAverage
from aquatint.training.encoding import Encoding
from aquatint.training.events import Event, Finished, Noted, Validated
from aquatint.training.folder import newest_checkpoint
from aquatint.training.idle import fitted
from aquatint.training.loss_module import LossModule
from aquatint.training.memory import checkpoint_gradients
from aquatint.training.observers import interleaved, regularly
from aquatint.training.optimizers import FINDS_RATE, RATES, build, find
from aquatint.training.precision import format_of_frozen, is_bf16_fast
from aquatint.training.preflight import Checked
from aquatint.training.prior import Asking, Prior, PriorSource, drawn_by_seed, words_of
from aquatint.training.prior_pictures import PriorPictures, num_asked
from aquatint.training.results import Results
from aquatint.training.runtime import Runtime
from aquatint.training.samples import Sampler, requests
from aquatint.training.schedules import schedule_of
from aquatint.training.settings import Train
from aquatint.training.trainer import Trainer

MOST_WINDOWS = 3
"""Attention to the prompt costs as many times more."""


class Session:
    """The parts of a run, each made when first asked for; `run` asks in the order that spares memory."""

    def __init__(self, config: Train, checked: Checked):
        self.config, self.records, self.folder, self.findings = checked.config, checked.records, checked.folder, checked.findings
        self.records, self.num_training = validation.held_out_last(self.records, share=self.config.validation.share, seed=self.config.seed)
        self.num_prior_pictures = len(checked.prior_records)
        self.prior_records = drawn_by_seed(checked.prior_records, self.config.prior.num, seed=self.config.seed)
        self.runtime = Runtime(cpu=config.cpu)
        self.family: ModelFamily = recognise(config.base, config.family).family  # a module is its family

    def run(self) -> Iterator[Event]:
        """Yields the run's events; the folder is complete when `Finished` has passed."""
        with self.folder.claimed() if self.runtime.is_main else nullcontext():
            find(self.config.optimizer.name)
            self._fit()
            self.config.method.check(self.bundle, self.family, trigger=self.config.trigger)
            self._seek_initialiser()
            self._write_config()
            yield from log(self._events(), self.folder.log)
        self.runtime.close()  # not after an error: the other processes may wait elsewhere, and are ended by the launcher

    def _events(self) -> Iterator[Event]:
        yield from notices.findings(self.findings, self.records, num_training=self.num_training)
        num_prior = self.derived.num_prior
        yield from notices.pictures_of_prior(self.prior_records, num_found=self.num_prior_pictures, num=num_prior)
        yield from notices.windows(self.bundle)
        yield from notices.frames(self.bundle, self.records)
        yield from notices.reasons(self.derived.reasons)
        yield from notices.rate(self.config)
        yield from notices.precision(self.config, self.precision, device=self.runtime.device)
        prompt = proof.question(self.bundle, self.config.trigger)
        base_answer = proof.outputs(self.bundle, self.family, prompt=prompt) if self.runtime.is_main else torch.empty(0)
        results = Results(self.settled, self.folder, self.family, self.records, base_answer)
        trainer = self.trainer
        yield from notices.blind_masks(self.examples)
        yield from notices.torn_captions(self.captions, self.config)
        # with the method attached: a learned word may take more room
        yield from notices.cut_captions([*self.records, *self.prior_records], self.bundle, family=self.family)
        self.bundle.rest()
        yield from self._resume(trainer)
        with stopping.deferred():
            for event in self._observed(trainer):
                if isinstance(event, Finished) and self.runtime.is_main:
                    with trainer.averaged():
                        proven = results.write(self.bundle, self.sampler, step=trainer.step, facts=self._facts(event))
                    yield Noted(step=trainer.step, text=proven.sentence())
                yield event

    def _fit(self) -> None:
        """Raises `BadSetting` for what this base cannot follow, before anything is computed."""
        self.config = fitted(self.config, self.bundle, records=(*self.records, *self.prior_records))

    def prepare(self) -> None:
        """Everything that a run finds in the cache: encoded pictures and captions, and what the base says."""
        self._fit()
        self.examples  # noqa: B018 - made when first asked for
        self.prior  # noqa: B018

    def _seek_initialiser(self) -> None:
        """The words that are found become settings, so that resuming and repeating begin as this run does."""
        config = self.config
        if not initialiser.is_sought(config):
            return
        examples, vectors = self.examples.first(self.num_shown), config.method.vectors  # type: ignore[attr-defined]  # learns a word
        search = initialiser.Search(
            self.bundle, self.family, self.cache, self.precision, examples, config.trigger or "", vectors, config.seed, config.loss
        )  # fmt: skip
        with self.runtime.first_alone():
            self.config, finding = initialiser.chosen(config, search, words=self.words)
        self.findings = (*self.findings, finding)

    # ------------------------------------------------------------------------------------------ parts

    @cached_property
    def bundle(self) -> Bundle:
        with quantised(self.config.quantise):
            bundle = self.family.load(self.config.base).freeze()
        if self.frozen == "bf16":
            hold(roundable(bundle.denoiser))
        objectives.apply(bundle, self.config.loss)
        if self.config.gradient_checkpointing:
            checkpoint_gradients(bundle, reaches_text=self.config.method.encodes_anew)
        if self.config.images.long_captions == "join":  # all prompts of a run alike, so that any of them fit into one batch
            captions = [prompt for record in (*self.records, *self.prior_records) for prompt in record.prompts]
            prompts = [*captions, *self.config.samples.prompts, self.config.prior.prompt or ""]
            needed = max(self.family.num_windows(bundle, prompt) for prompt in prompts)
            bundle.windows = min(MOST_WINDOWS, needed)
        return bundle.to(self.runtime.device)

    @property
    def resolution_px(self) -> int:
        """The largest that pictures are shown at."""
        return max(self.config.images.resolutions, default=self.bundle.resolution_px)

    @cached_property
    def shown(self) -> list[Shown]:
        """Every picture at each of its sizes, those of the held-out ones at the end."""
        return samples(self.records, self.config.images, resolution=self.bundle.resolution_px, multiple=self.bundle.side_multiple)

    @cached_property
    def num_shown(self) -> int:
        """How many of them are trained on."""
        return sum(each.record < self.num_training for each in self.shown)

    @cached_property
    def derived(self) -> Derived:
        config = self.config
        num_prior = num_asked(config, self.prior_records, words=self.words)
        has_class = bool(config.prior.prompt) or config.prior.preserve == "pictures"
        lr = config.lr or (1.0 if config.optimizer.name == FINDS_RATE else None)
        return derive(
            self.num_training, given=Given(config.steps, config.batch_size, lr, num_prior, config.trigger, has_class),
            standard_lr=config.method.default_lr * RATES.get(config.optimizer.name, 1),
            width=self.bundle.width, width_power=config.method.width_power, resolution_px=self.resolution_px,
            num_parts=config.accumulate * self.runtime.num_processes,
        )  # fmt: skip

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.family, self.bundle)

    @cached_property
    def precision(self) -> torch.dtype:
        names = {"fp32": torch.float32, "no": torch.float32, "bf16": torch.bfloat16}
        if self.config.precision != "auto":
            return names[self.config.precision]
        return torch.bfloat16 if is_bf16_fast(self.runtime.device) else torch.float32

    @property
    def frozen(self) -> Literal["fp32", "bf16"]:
        return format_of_frozen(self.config.frozen, self.precision, keeps_base=self.config.method.keeps_base and not self.config.quantise)

    @property
    def captions(self) -> list[str]:
        """All that is told of any picture."""
        return [prompt for record in self.records for prompt in record.prompts]

    @cached_property
    def cache(self) -> TensorCache:
        """For what one process computes, or each for itself."""
        return TensorCache(default_root())

    @cached_property
    def encoding(self) -> Encoding:
        shared = TensorCache(default_root(), crew=self.runtime.crew)
        return Encoding(self.bundle, self.family, shared, self.config.images, Ticker("encoded"))

    @cached_property
    def examples(self) -> Examples:
        records, sizes = [self.records[each.record] for each in self.shown], [each.size for each in self.shown]
        return self.encoding.examples(records, sizes, keep_prompts=self.config.method.encodes_anew)

    @cached_property
    def prior(self) -> Prior | None:
        """What the base says by itself, before anything is attached to it."""
        if not self.derived.num_prior:
            return None
        asking = Asking(self.bundle, self.family, self.cache, self.precision)
        prior = PriorPictures(self.config, self.encoding, asking, self.runtime).prior(
            self.prior_records, num=self.derived.num_prior, side_px=self.resolution_px, captions=self.captions, words=self.words
        )
        changes = self.config.method.trains_text_encoder or self.config.method.new_classes
        return replace(prior, conditionings={}) if changes else prior  # prompts will not be told as they were

    @cached_property
    def contexts(self) -> Contexts | None:
        """What other words say beside the base's own, before a new one is attached."""
        return contexts_of(self.bundle, self.family, config=self.config, captions=self.captions, words=self.words)

    @cached_property
    def settled(self) -> Train:
        """The settings with what was derived or measured written out, and places that hold from any working directory."""
        derived = {"steps": self.derived.steps, "batch_size": self.derived.batch_size, "lr": self.derived.lr}
        yours = self.config.prior.data  # of these `num` stays as it was given: their provenance tells if there are others now
        known = {"data": sources.lasting(yours)} if yours else {"num": self.derived.num_prior}
        prior = self.config.prior.model_copy(update={**known, "weight": self.config.prior_weight})
        precision = "bf16" if self.precision == torch.bfloat16 else "fp32"  # measured again, it might come out otherwise
        measured = {"precision": precision, "frozen": self.frozen, "loss": objectives.settled(self.config.loss, self.bundle.objective)}
        places = {"data": sources.lasting(self.config.data), "base": lasting(self.config.base)}
        return self.config.model_copy(update={**derived, **places, **measured, "prior": prior})

    @cached_property
    def trainer(self) -> Trainer:
        config, derived, examples = self.config, self.derived, self.examples
        batches, contexts = self._batches(examples), self.contexts  # the base is asked as it is
        # of the weights before any are added
        facts = provenance.provenance(self.settled, self.records, prior_records=self.prior_records, bundle=self.bundle)
        torch.manual_seed(key(config.seed, "initial weights"))
        with opened(self.bundle.denoiser):
            parameters = config.method.attach(self.bundle, self.family, trigger=config.trigger)
        name, warmup, decay = config.optimizer.name, config.optimizer.warmup_steps, config.optimizer.weight_decay
        every = config.checkpoints.every
        return Trainer(
            LossModule(self.family, self.bundle, trained=parameters, contexts=contexts), parameters,
            build(name, config.method.groups(parameters), lr=derived.lr, weight_decay=decay, options=config.optimizer.options),
            schedule_of(config.optimizer, num_steps=derived.steps, warmup_steps=derived.warmup_steps if warmup is None else warmup),
            batches, self.runtime, self.folder.checkpoints,
            num_steps=derived.steps, seed=config.seed, max_norm=config.optimizer.max_norm,
            save_every=min(500, max(1, derived.steps // 4)) if every is None else every, keep_checkpoints=config.checkpoints.keep,
            precision=self.precision, average=MovingAverage(parameters, config.ema) if config.ema else None,
            should_stop=stopping.is_stop_requested, facts=facts,
        )  # fmt: skip

    @cached_property
    def sampler(self) -> Sampler:
        size_px, trigger = self.resolution_px, self.config.trigger
        wanted = requests(self.config.samples, trigger=trigger, records=self.records, size_px=size_px, told=self.bundle.told)
        return Sampler(self.bundle, wanted, self.folder, self.precision, self.settled.base, self.trainer.averaged, self.cache)

    # ------------------------------------------------------------------------------------------ the run

    def _plan(self) -> BatchPlan:
        trained_on = self.shown[: self.num_shown]
        buckets = {size: index for index, size in enumerate(dict.fromkeys(each.size for each in trained_on))}
        return BatchPlan(
            [buckets[each.size] for each in trained_on], weights=[self.records[each.record].weight for each in trained_on],
            batch_size=self.derived.batch_size, accumulate=self.config.accumulate,
            num_processes=self.runtime.num_processes, rank=self.runtime.rank,
            repeats=self.config.images.repeats or self.derived.repeats, seed=self.config.seed,
        )  # fmt: skip

    def _batches(self, examples: Examples) -> Callable[[int], Sequence[AnyBatch]]:
        config, runtime, prior = self.config, self.runtime, self.prior
        own = BatchSource(examples, self._plan(), config.seed, config.loss.caption_dropout)
        if prior is None:
            return own
        beside = PriorSource(
            prior, self.bundle.objective, self.derived.batch_size, config.accumulate, runtime.rank, runtime.num_processes,
            weight=config.prior_weight,
        )  # fmt: skip

        def both(step: int) -> list[AnyBatch]:
            mine, lessons = own(step), beside(step)  # of one's own there are fewer where a set of pictures ends
            pairs = zip(mine, lessons, strict=False)
            # the user's last: gradients are exchanged with the last batch, and a learned word is only in these
            return [*lessons[len(mine) :], *(batch for pair in pairs for batch in reversed(joined(*pair)))]

        return both

    def _observed(self, trainer: Trainer) -> Iterator[Event]:
        events, steps = trainer.run(), trainer.num_steps
        if not self.runtime.is_main:
            return events
        samples, losses = self.config.samples.every, self.config.validation.every
        events = interleaved(events, self._validate, due=regularly(max(5, steps // 10) if losses is None else losses, steps))
        return interleaved(events, self.sampler, due=regularly(max(10, steps // 4) if samples is None else samples, steps, ends=False))

    def _validate(self, step: int) -> Validated:
        with self.trainer.averaged():
            indices = validation.once_each([each.record for each in self.shown], self.num_shown)
            loss = validation.measure(self.bundle, self.family, examples=self.examples, indices=indices, precision=self.precision)
        return Validated(step=step, loss=loss)

    def _resume(self, trainer: Trainer) -> Iterator[Event]:
        """Raises `BadRun` when the run is not the one that the checkpoint is of, or no checkpoint is whole."""
        if not self.config.resume:
            return
        if not any(self.folder.checkpoints.glob("step_*")):
            yield Noted(step=0, text="the run ended before its first checkpoint, so it begins again", is_warning=True)
            return
        state = newest_checkpoint(self.folder)
        broken = provenance.breaks(state.facts, trainer.facts)
        if broken:
            reasons = "".join(f"\n  {reason}" for reason in broken)
            advice = "put that back, or start a new run with another out="
            raise BadRun(f"{self.folder.path}: this would not be the same run:{reasons}\n{advice}")
        for change in provenance.changes(state.facts, trainer.facts):
            yield Noted(step=state.step, text=f"resumed with other settings: {change}", is_warning=True)
        trainer.restore(state)

    def _write_config(self) -> None:
        if self.runtime.is_main and not self.config.resume:
            if self.folder.config.is_file():  # begun between the checks and the claim
                raise BadRun(f"{self.folder.path}: another run was begun here a moment ago; choose another folder")
            with replacing(self.folder.config) as aside:
                self.settled.write(aside)

    def _facts(self, end: Finished) -> dict[str, object]:
        trained = sum(p.numel() for p in self.trainer.parameters.values())
        how = {"windows": self.bundle.windows, "precision": str(self.precision)}
        return {**how, "num_trainable": trained, "seconds": end.seconds, "steps": self.trainer.step}
