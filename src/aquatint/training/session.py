"""One run from checked settings to a proven file: puts the parts together, and holds no mathematics."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import torch

from aquatint import stopping
from aquatint.atomic import replacing
from aquatint.core.family import Bundle, Conditioning, ModelFamily
from aquatint.core.objective import MinSNR, even
from aquatint.core.randomness import key
from aquatint.core.request import Request
from aquatint.data import sources
from aquatint.data.buckets import Shown, samples
from aquatint.data.cache import TensorCache
from aquatint.data.captions import torn_words
from aquatint.data.diagnosis import leakage
from aquatint.data.findings import counted, folded, listed
from aquatint.data.kept import default_root
from aquatint.data.plan import BatchPlan
from aquatint.errors import BadRun, BadSetting
from aquatint.evaluation import proof
from aquatint.families._sources import lasting
from aquatint.recognition import recognise
from aquatint.sinks import log
from aquatint.ticker import Ticker
from aquatint.training import provenance, validation
from aquatint.training.batch import AnyBatch, BatchSource, Examples, joined
from aquatint.training.defaults import Derived, Given, derive
from aquatint.training.ema import MovingAverage
from aquatint.training.encoding import Encoding
from aquatint.training.events import Event, Finished, Noted, Validated
from aquatint.training.folder import newest_checkpoint
from aquatint.training.idle import fitted
from aquatint.training.loss_module import LossModule
from aquatint.training.observers import interleaved, regularly
from aquatint.training.optimizers import build
from aquatint.training.precision import bf16_speedup, is_bf16_fast
from aquatint.training.preflight import Checked
from aquatint.training.prior import NUM_STEPS, Asking, Prior, PriorSource, drawn_by_seed, pictured, words_of
from aquatint.training.prior import prompts as prior_prompts
from aquatint.training.results import Results
from aquatint.training.runtime import Runtime
from aquatint.training.samples import Sampler, requests
from aquatint.training.schedules import SCHEDULES
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
            self._fit()
            self.config.method.check(self.bundle, self.family, trigger=self.config.trigger)
            self._write_config()
            yield from log(self._events(), self.folder.log)
        self.runtime.close()  # not after an error: the other processes may wait elsewhere, and are ended by the launcher

    def _events(self) -> Iterator[Event]:
        yield from self._notes()
        prompt = proof.question(self.bundle, self.config.trigger)
        base_answer = proof.outputs(self.bundle, self.family, prompt=prompt) if self.runtime.is_main else torch.empty(0)
        results = Results(self.settled, self.folder, self.family, self.records, base_answer)
        trainer = self.trainer
        yield from self._blind_masks()
        yield from self._torn_captions()
        yield from self._cut_captions()  # after the method is attached: a learned word may take more room
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

    # ------------------------------------------------------------------------------------------ parts

    @cached_property
    def bundle(self) -> Bundle:
        bundle = self.family.load(self.config.base).freeze()
        gamma = self.config.loss.min_snr_gamma
        bundle.objective = bundle.objective.weighted_by(MinSNR(gamma) if gamma else even)
        if self.config.images.long_captions == "join":  # all prompts of a run alike, so that any of them fit into one batch
            captions = [prompt for record in (*self.records, *self.prior_records) for prompt in record.prompts]
            needed = max(self.family.num_windows(bundle, prompt) for prompt in [*captions, *self.config.samples.prompts])
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
        num_prior = len(self.prior_records) if config.prior.data else self._num_to_draw()
        return derive(
            self.num_training, given=Given(config.steps, config.batch_size, config.lr, num_prior, config.trigger),
            standard_lr=config.method.default_lr,
            width=self.bundle.width, resolution_px=self.resolution_px,
            num_parts=config.accumulate * self.runtime.num_processes,
        )  # fmt: skip

    def _num_to_draw(self) -> int | None:
        """Pictures of the base's own that were asked for."""
        num = self.config.prior.num if self.config.prior.weight else 0
        if num and not self.words:
            raise BadSetting(f"prior.num={num}: this base has no words to draw other things by; set prior.num=0")
        return num if self.words else 0

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
        config, asking = self.config, Asking(self.bundle, self.family, self.cache, self.precision)
        if self.prior_records:
            yours = pictured(self.prior_records, replace(self.encoding, images=config.prior_images), side_px=self.resolution_px)
            told = self._told([picture.prompt for picture in yours])
            with self.runtime.first_alone():
                prior = asking.prior_on(yours, told, seed=config.seed)
        else:
            drawn = prior_prompts(self.captions, trigger=config.trigger, words=self.words, num=self.derived.num_prior, seed=config.seed)
            wanted = [Request(prompt, index, num_steps=NUM_STEPS, scale=config.prior.scale) for index, prompt in enumerate(drawn)]
            told = self._told(drawn)  # all processes together
            with self.runtime.first_alone():
                prior = asking.prior(wanted, told, seed=config.seed)
        changes = self.config.method.trains_text_encoder or self.config.method.new_classes
        return replace(prior, conditionings={}) if changes else prior  # prompts will not be told as they were

    def _told(self, prompts: Sequence[str]) -> dict[str, Conditioning]:
        return self.encoding.conditionings(sorted({*prompts, *self.encoding.empty}))

    @cached_property
    def settled(self) -> Train:
        """The settings with what was derived or measured written out, and places that hold from any working directory."""
        derived = {"steps": self.derived.steps, "batch_size": self.derived.batch_size, "lr": self.derived.lr}
        yours = self.config.prior.data  # of these `num` stays as it was given: their provenance tells if there are others now
        known = {"data": sources.lasting(yours)} if yours else {"num": self.derived.num_prior}
        prior = self.config.prior.model_copy(update=known)
        precision = "bf16" if self.precision == torch.bfloat16 else "fp32"  # measured again, it might come out otherwise
        places = {"data": sources.lasting(self.config.data), "base": lasting(self.config.base)}
        return self.config.model_copy(update={**derived, **places, "prior": prior, "precision": precision})

    @cached_property
    def trainer(self) -> Trainer:
        config, derived, examples = self.config, self.derived, self.examples
        batches = self._batches(examples)  # the prior is drawn by the base as it is
        # of the weights before any are added
        facts = provenance.provenance(self.settled, self.records, prior_records=self.prior_records, bundle=self.bundle)
        torch.manual_seed(key(config.seed, "initial weights"))
        parameters = config.method.attach(self.bundle, self.family, trigger=config.trigger)
        warmup = config.optimizer.warmup_steps
        every = config.checkpoints.every
        return Trainer(
            LossModule(self.family, self.bundle, trained=parameters), parameters,
            build(config.optimizer.name, config.method.groups(parameters), lr=derived.lr, weight_decay=config.optimizer.weight_decay),
            SCHEDULES[config.optimizer.schedule](num_steps=derived.steps, warmup_steps=derived.warmup_steps if warmup is None else warmup),
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
            weight=config.prior.weight,
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

    def _notes(self) -> Iterator[Event]:
        for finding in folded((*self.findings, *leakage(self.records[: self.num_training], self.records[self.num_training :]))):
            yield Noted(step=0, text=str(finding), is_warning=finding.level != "note")
        if self.prior_records:
            num, found = len(self.prior_records), self.num_prior_pictures
            which = counted(num, "picture") if num == found else f"{found:,} pictures, drawn by the seed"
            yield Noted(step=0, text=f"prior: {'' if num == found else f'{num:,} of '}your {which}")
        if self.bundle.windows > 1:
            text = f"the longest caption takes {self.bundle.windows} windows of the text encoder, and every prompt of this run gets as many"
            yield Noted(step=0, text=f"{text}, as with `aquatint generate`; stock pipelines give a prompt one")
        if self.bundle.is_framed and any(record.width_px != record.height_px for record in self.records):
            side = self.bundle.resolution_px
            yield Noted(step=0, text=f"every picture is cropped to a square of {side} px, the only size that this base draws")
        for reason in self.derived.reasons:
            yield Noted(step=0, text=reason)
        if self.config.precision == "auto" and self.runtime.device.type != "cuda":
            speedup = bf16_speedup(self.runtime.device)
            chosen = str(self.precision).removeprefix("torch.")
            yield Noted(step=0, text=f"precision={chosen}: bf16 runs {speedup:.1f} times as fast as fp32 here")

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

    def _blind_masks(self) -> Iterator[Event]:
        """Pictures that take part and teach nothing."""
        seen = zip(self.examples.names, self.examples.views, strict=True)
        blind = [name for name, views in seen if all(view.mask_B1HW is not None and not view.mask_B1HW.any() for view in views)]
        if blind:
            text = f"the masks are black in all that is shown of {listed(list(dict.fromkeys(blind)))}: nothing of it is learned"
            yield Noted(step=0, text=text, is_warning=True)

    def _torn_captions(self) -> Iterator[Event]:
        """Other words that hold the trigger, which stock tokenizers cut up once it is a word of its own."""
        trigger = self.config.trigger if self.config.method.learns_trigger else None
        found = torn_words(self.captions, trigger) if trigger else []
        if found:
            text = f"{trigger} is a part of other words in the captions, which will be cut up there: {', '.join(found[:5])}"
            yield Noted(step=0, text=text, is_warning=True)

    def _cut_captions(self) -> Iterator[Event]:
        """Words that the text encoder will never see."""
        every = [*self.records, *self.prior_records]
        lost = {i: end for i, r in enumerate(every) for prompt in r.prompts if (end := self.family.cut_off(self.bundle, prompt))}
        if lost:
            first, end = next(iter(lost.items()))
            windows = "window" if self.bundle.windows == 1 else f"{self.bundle.windows} windows"
            text = f"{len(lost)} captions are longer than the text encoder's {windows}; of {every[first].name} it does not see: … {end}"
            yield Noted(step=0, text=text, is_warning=True)

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
