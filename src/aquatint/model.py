"""A model that is ready to draw: a run, or a base. `aquatint.load("runs/photos").generate("a zwx on the moon")`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aquatint.core.memory import keep_freed_memory, unswept
from aquatint.core.request import Request
from aquatint.errors import BadBase, BadFile, BadSetting, shortage
from aquatint.generation.settings import Drawing

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from aquatint.core.denoising import Guidance
    from aquatint.core.family import Bundle
    from aquatint.generation.beginning import Beginning
    from aquatint.generation.mixing import Adapter, Mix

Precision = Literal["fp32", "bf16"]
WORDS = "learned_embeds.safetensors"
AT_ONCE = 8
"""Pictures, where the user leaves it open."""
LARGE_PX = 256
"""On a CPU a batch of larger pictures is no faster than one after another, and takes its multiple of memory."""


@dataclass(frozen=True)
class Drawn:
    """A picture, or what it is going to be."""

    picture: Image
    request: Request
    step: int
    """After how many steps."""
    num_steps: int
    pixels_CHW: Tensor | None = None
    """The picture before it was rounded and cut off at black and white, (3, H, W) about in [-1, 1], where it was drawn step by step."""

    @property
    def is_finished(self) -> bool:
        return self.step == self.num_steps


@dataclass(frozen=True)
class Model:
    """Draws, as often as asked; none of it changes the next."""

    bundle: Bundle
    base: str
    run: Path | None = None
    """The folder of the run whose result is on the base."""
    trigger: str | None = None
    precision: Precision = "fp32"
    _words: set[Path] = field(default_factory=set)
    """Files of learned words that came with adapters."""
    windows: int | None = None
    """Of the text encoder, that the run's captions were read through; None where prompts end with the first."""

    def generate(self, prompt: str = "", **settings: Any) -> list[Image]:
        """Pictures of a prompt, by the settings of `Drawing`: `num=4, seed=1, guide=["color:teal"]`.

        Raises `SettingsError` for settings that are wrong, `BadSetting` for those that mean nothing for this model.
        """
        return [drawn.picture for drawn in self.draw(Drawing.from_tree({"prompt": prompt, **settings}))]

    def stream(self, prompt: str = "", *, every: int = 1, **settings: Any) -> Iterator[Drawn]:
        """The same one by one, and on the way, after `every` so many steps, what they are going to be."""
        return self.draw(Drawing.from_tree({"prompt": prompt, **settings}), every=every)

    def draw(
        self, drawing: Drawing, *, prompts: Sequence[str] | None = None, every: int | None = None, further: Sequence[Guidance] = ()
    ) -> Iterator[Drawn]:  # fmt: skip
        """All pictures of each prompt, in order; with `every` previews too. `prompts` take the place of the drawing's own.

        `further` guidances come after the drawing's.

        Raises before anything is drawn.
        """
        from aquatint.generation.mixing import axes
        from aquatint.generation.prompts import spelled_out

        if axes(drawing.adapters):
            raise BadSetting("adapters: a sweep is drawn by aquatint generate; here give each weight by itself")
        triggers = [self.trigger, *(self._word_of(adapter) for adapter in drawing.adapters)]
        asked = [_spelled(text, triggers) for text in (spelled_out(drawing.prompt) if prompts is None else prompts)]
        with self._as_asked(drawing, asked, further=further) as guided:
            first = self._first(drawing)
            requests = [replace(first, prompt=text, seed=drawing.seed + i) for text in asked for i in range(drawing.num)]
            self.bundle.family.asked(self.bundle, requests)  # what it would not listen to is told before a folder is made
            if self.bundle.told == "classes":
                self.bundle.family.encode_prompts(self.bundle, asked)
            yield from self._batches(requests, guided, every=every, at_once=drawing.batch_size)

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def overlaps(self, adapters: Sequence[Adapter]) -> list[tuple[str, str, float]]:
        """Of each two adapters, how alike their updates are: 0 where they leave each other alone, 1 where they are the same."""
        from itertools import combinations

        from aquatint.generation.mixing import overlap, read

        files = [files_of(adapter.path)[0] for adapter in adapters]
        loaded = [read(file, name=str(adapter.path)) for adapter, file in zip(adapters, files, strict=True) if file]
        return [(one.name, other.name, overlap(one, other)) for one, other in combinations(loaded, 2)]

    @contextmanager
    def with_adapters(self, adapters: Sequence[Adapter]) -> Iterator[Mix]:
        """Inside, they are on the bundle, whatever draws with it; learned words that they bring stay known."""
        from aquatint.generation.mixing import mixed, read

        files = [(adapter, files_of(adapter.path)[0]) for adapter in adapters]
        for adapter in adapters:
            self._word_of(adapter)
        with mixed(self.bundle, [(adapter, read(file, name=str(adapter.path))) for adapter, file in files if file]) as mix:
            yield mix

    @property
    def scheduler(self) -> str:
        """The class that it draws with."""
        return type(self.bundle.pipeline.scheduler).__name__

    def _first(self, drawing: Drawing) -> Request:
        from aquatint.generation.beginning import size_for

        size, multiple = drawing.size, self.bundle.side_multiple
        if size and any(side % multiple for side in size) and not self.bundle.is_framed:
            raise BadSetting(f"size={list(size)}: both sides must be multiples of {multiple}, as this model's networks need")
        width, height = size or (size_for(self.bundle, drawing) if drawing.image else (None, None))
        return Request(drawing.prompt, drawing.seed, drawing.steps, drawing.scale, drawing.negative, width, height)

    @contextmanager
    def _as_asked(self, drawing: Drawing, prompts: Sequence[str], *, further: Sequence[Guidance]) -> Iterator[_Guided]:
        """Inside, the bundle draws with the scheduler and reads as many windows as are asked for."""
        from aquatint.families._samplers import switch

        bundle, scheduler = self.bundle, self.bundle.pipeline.scheduler
        if self.windows:
            bundle.windows = max(self.windows, *(bundle.family.num_windows(bundle, text) for text in (*prompts, drawing.negative)))
        try:
            if drawing.scheduler:
                switch(bundle, drawing.scheduler)
            with self.with_adapters(drawing.adapters) as mix:
                changes = any(adapter.schedule for adapter in drawing.adapters)
                yield self._guided(drawing, [*further, *([mix] if changes else [])])
        finally:
            bundle.pipeline.scheduler = scheduler

    def _guided(self, drawing: Drawing, further: Sequence[Guidance]) -> _Guided:
        from aquatint.generation.beginning import begin, kept, size_for

        beginning = begin(self.bundle, drawing, size=size_for(self.bundle, drawing), precision=self._dtype) if drawing.image else None
        masked = [kept(beginning)] if beginning and beginning.mask else []
        guidances: list[Guidance] = [*drawing.guide, *masked, *further]
        return _Guided(guidances, beginning, is_plain=not (guidances or drawing.image or drawing.scheduler))

    def _batches(
        self, requests: Sequence[Request], guided: _Guided, *, every: int | None, at_once: int | str
    ) -> Iterator[Drawn]:  # fmt: skip
        """Where memory runs out and the user has not said how many, half as many; none is drawn twice."""
        first = requests[0]
        size = at_once if isinstance(at_once, int) else self._at_once(first)
        while requests:
            try:
                yield from guided.drawn(self.bundle, requests[:size], every=every, precision=self._dtype)
            except (MemoryError, RuntimeError) as error:
                if shortage(error) is None or isinstance(at_once, int) or size == 1:
                    raise
                size = max(1, min(size, len(requests)) // 2)
                continue
            requests = requests[size:]

    def _at_once(self, request: Request) -> int:
        side = max(request.width_px or 0, request.height_px or 0) or self.bundle.resolution_px
        return 1 if self.bundle.device.type == "cpu" and side > LARGE_PX else AT_ONCE

    def _word_of(self, adapter: Adapter) -> str | None:
        """The trigger of an adapter's run; a learned word that belongs to it is read in. Raises as `files_of` does."""
        from aquatint.export import embedding

        _, words, trigger = files_of(adapter.path)
        if words and words not in self._words:
            word = embedding.word_in(words)
            if any(word in tokenizer.get_vocab() for tokenizer in self.bundle.tokenizers):
                why = f"has learned the word {word}, which this model or another adapter knows already"
                raise BadSetting(f"adapters: {adapter.path} {why}; train one of them with another trigger")
            embedding.load(self.bundle.pipeline, words)
            self._words.add(words)
        return trigger


def _spelled(prompt: str, triggers: Sequence[str | None]) -> str:
    """With triggers in their own spelling: tokenizers ignore case, but stock pipelines look for a learned word as it stands."""
    from aquatint.data.captions import spelled

    for trigger in filter(None, triggers):
        prompt = spelled(prompt, trigger)
    return prompt


def files_of(path: Path) -> tuple[Path | None, Path | None, str | None]:
    """Of an adapter or a run: the adapter, its learned word, and its trigger. Raises `BadFile`, or `BadSetting` for a whole model."""
    from aquatint.export.opening import header
    from aquatint.export.spelling import parse
    from aquatint.training.folder import RunFolder

    folder = RunFolder(path)
    if not folder.config.is_file():
        if path.is_file() and path.suffix == ".safetensors" and not any(parse(name) for name in header(path).shapes):
            return None, path, None
        if not path.exists():
            raise BadFile(f"{path}: there is no such file or folder")
        return path, None, None
    facts = folder.read_facts()
    file, words = path / facts["file"], path / WORDS
    if (file / "model_index.json").is_file():
        raise BadSetting(f"{path} is a whole model; draw with it as the model, or draw an adapter from it: aquatint extract")
    return (None if file == words else file), (words if words.is_file() else None), facts.get("trigger")


@dataclass(frozen=True)
class _Guided:
    """How the pictures of one call are drawn."""

    guidances: Sequence[Guidance]
    beginning: Beginning | None
    is_plain: bool
    """Then the stock pipeline draws them."""

    def drawn(self, bundle: Bundle, requests: Sequence[Request], *, every: int | None, precision: torch.dtype) -> Iterator[Drawn]:
        """One batch."""
        from aquatint.generation.drawing import draw
        from aquatint.generation.sampling import decoded, picture, walk

        num_steps = requests[0].num_steps
        if self.is_plain and not every:
            for drawn, request in zip(draw(bundle, requests, batch_size=len(requests), precision=precision), requests, strict=True):
                yield Drawn(drawn, request, num_steps, num_steps)
            return
        start = self.beginning.start if self.beginning else None
        for step in walk(bundle, requests, guidances=self.guidances, start=start, precision=precision):
            is_last = step.number == step.total
            if is_last or (every and step.number % every == 0):
                finished = self.beginning.finished if self.beginning else lambda drawn: drawn
                for pixels, request in zip(decoded(bundle, step.x_0_BCHW, precision=precision), requests, strict=True):
                    yield Drawn(finished(picture(pixels)), request, step.number, step.total, pixels)


@unswept()
def load(
    source: str | Path = "pocket", *, family: str = "auto", precision: Literal["auto"] | Precision = "auto", cpu: bool = False
) -> Model:  # fmt: skip
    """A run's folder, or a base: `pocket`, a diffusers folder, a .safetensors checkpoint, a Hub id; on the GPU if there is one.

    In bf16, which `auto` takes on GPUs that compute in it, weights take half the memory. Raises `BadRun` for a run that has not
    finished, `BadBase` where there is no model.
    """
    from aquatint.core.rounding import hold, roundable
    from aquatint.recognition import recognise
    from aquatint.training.folder import RunFolder
    from aquatint.training.objectives import end_in_noise
    from aquatint.training.settings import Train

    device = _device(cpu)
    chosen = _precision(device) if precision == "auto" else precision
    folder = RunFolder(_run_of(Path(source)))
    if not folder.config.is_file():
        model = Model(recognise(str(source), family).family.load(str(source)).freeze(), str(source), precision=chosen)
    else:
        facts, settings = folder.read_facts(), Train.read([], file=folder.config)
        bundle = recognise(settings.base, settings.family).family.load(settings.base).freeze()
        if settings.loss.zero_terminal_snr:
            end_in_noise(bundle)
        settings.method.load(bundle, folder.path / facts["file"])
        windows = facts.get("windows", 1) if settings.images.long_captions == "join" else None
        model = Model(bundle, settings.base, folder.path, facts.get("trigger"), chosen, windows=windows)
    if chosen == "bf16":
        for part in model.bundle.modules:
            hold(roundable(part))
    model.bundle.to(device)
    return model


def adapter_file(path: Path) -> Path:
    """Of a run its adapter; any other path as it is. Raises as `files_of` does."""
    if not (path / "config.yaml").is_file():
        return path
    file, _, trigger = files_of(path)
    if file is None:
        raise BadSetting(f"{path} has learned the word {trigger} alone, and there is no adapter in it")
    return file


def _run_of(path: Path) -> Path:
    """The folder of the run whose result a file is; else the path. Raises `BadBase` for an adapter without its run."""
    from aquatint.export.architectures import title_of
    from aquatint.export.opening import header
    from aquatint.export.reading import read
    from aquatint.export.spelling import parse
    from aquatint.training.folder import RunFolder

    folder = RunFolder(path.parent)
    if path.suffix != ".safetensors" or not path.is_file():
        return path
    if folder.facts.is_file() and folder.config.is_file() and folder.read_facts().get("file") == path.name:
        return folder.path
    if any(parse(name) for name in header(path).shapes):
        advice = f"name the base that it goes onto: aquatint generate BASE adapters={path}"
        raise BadBase(f"{path}: this is an adapter for {title_of(read(path).architecture)}, and no model of its own; {advice}")
    return path


def _precision(device: torch.device) -> Precision:
    """A CPU draws in fp32, as the programs in a run's README do."""
    from aquatint.training.precision import is_bf16_fast

    return "bf16" if device.type == "cuda" and is_bf16_fast(device) else "fp32"


def _device(is_cpu: bool) -> torch.device:
    import torch

    if not is_cpu and torch.cuda.is_available():
        return torch.device("cuda")
    if not is_cpu and torch.backends.mps.is_available():
        return torch.device("mps")
    keep_freed_memory()
    return torch.device("cpu")
