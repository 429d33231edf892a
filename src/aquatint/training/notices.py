"""What a run tells before its first step: what was found, what was decided, and what will not be as it may seem."""

from collections.abc import Iterator, Sequence

import torch

from aquatint.core.family import Bundle, ModelFamily
from aquatint.data.captions import torn_words
from aquatint.data.diagnosis import leakage
from aquatint.data.findings import Finding, counted, folded, listed
from aquatint.data.records import ImageRecord
from aquatint.training.batch import Examples
from aquatint.training.events import Noted
from aquatint.training.optimizers import FINDS_RATE
from aquatint.training.precision import bf16_speedup
from aquatint.training.settings import Train


def note(text: str) -> Noted:
    return Noted(step=0, text=text)


def warning(text: str) -> Noted:
    return Noted(step=0, text=text, is_warning=True)


def findings(found: Sequence[Finding], records: Sequence[ImageRecord], *, num_training: int) -> Iterator[Noted]:
    """What is odd about the pictures; those from `num_training` on are held out."""
    for finding in folded((*found, *leakage(records[:num_training], records[num_training:]))):
        yield Noted(step=0, text=str(finding), is_warning=finding.level != "note")


def pictures_of_prior(records: Sequence[ImageRecord], *, num_found: int, num: int) -> Iterator[Noted]:
    """Which of the user's regularisation pictures take part, where the prior has `num` in all."""
    if records:
        yours = len(records)
        which = counted(yours, "picture") if yours == num_found else f"{num_found:,} pictures, drawn by the seed"
        drawn = f", and {num - yours:,} that the base draws" if num > yours else ""
        yield note(f"prior: {'' if yours == num_found else f'{yours:,} of '}your {which}{drawn}")


def windows(bundle: Bundle) -> Iterator[Noted]:
    if bundle.windows > 1:
        text = f"the longest caption takes {bundle.windows} windows of the text encoder, and every prompt of this run gets as many"
        yield note(f"{text}, as with `aquatint generate`; stock pipelines give a prompt one")


def frames(bundle: Bundle, records: Sequence[ImageRecord]) -> Iterator[Noted]:
    if bundle.is_framed and any(record.width_px != record.height_px for record in records):
        yield note(f"every picture is cropped to a square of {bundle.resolution_px} px, the only size that this base draws")


def reasons(derived: Sequence[str]) -> Iterator[Noted]:
    yield from map(note, derived)


def rate(config: Train) -> Iterator[Noted]:
    if config.lr is None and config.optimizer.name == FINDS_RATE:
        yield note(f"lr=1: {FINDS_RATE} finds the rate by itself, and this is a factor on it")


def precision(config: Train, chosen: torch.dtype, *, device: torch.device) -> Iterator[Noted]:
    """What was measured, where nothing was asked for."""
    if config.precision == "auto" and device.type != "cuda":
        name = str(chosen).removeprefix("torch.")
        yield note(f"precision={name}: bf16 runs {bf16_speedup(device):.1f} times as fast as fp32 here")


def blind_masks(examples: Examples) -> Iterator[Noted]:
    """Pictures that take part and teach nothing."""
    seen = zip(examples.names, examples.views, strict=True)
    blind = [name for name, views in seen if all(view.mask_B1HW is not None and not view.mask_B1HW.any() for view in views)]
    if blind:
        yield warning(f"the masks are black in all that is shown of {listed(list(dict.fromkeys(blind)))}: nothing of it is learned")


def torn_captions(captions: Sequence[str], config: Train) -> Iterator[Noted]:
    """Other words that hold the trigger, which stock tokenizers cut up once it is a word of its own."""
    trigger = config.trigger if config.method.learns_trigger else None
    found = torn_words(captions, trigger) if trigger else []
    if found:
        yield warning(f"{trigger} is a part of other words in the captions, which will be cut up there: {', '.join(found[:5])}")


def cut_captions(records: Sequence[ImageRecord], bundle: Bundle, *, family: ModelFamily) -> Iterator[Noted]:
    """Words that the text encoder will never see."""
    lost = {i: end for i, r in enumerate(records) for prompt in r.prompts if (end := family.cut_off(bundle, prompt))}
    if lost:
        first, end = next(iter(lost.items()))
        size = "window" if bundle.windows == 1 else f"{bundle.windows} windows"
        text = f"{len(lost)} captions are longer than the text encoder's {size}; of {records[first].name} it does not see: … {end}"
        yield warning(text)
