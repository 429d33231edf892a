"""Settings that would have no effect for what a base is told, or can draw: refused, not ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aquatint.config import Problem
from aquatint.core.request import Request
from aquatint.errors import BadSetting

if TYPE_CHECKING:
    from aquatint.core.family import Bundle
    from aquatint.data.records import ImageRecord
    from aquatint.training.settings import Train

CAPTIONS = (
    "template", "caption_column", "caption_from_name", "caption_from_folder", "allow_missing_captions", "caption_lines", "caption_shuffle",
    "caption_keep", "caption_variants", "long_captions", "captioner",
)  # fmt: skip
IDLE: dict[str, tuple[str, ...]] = {
    "text": (),
    "classes": ("trigger", "images.long_captions", "prior.scale"),
    "nothing": (
        "trigger", *(f"images.{name}" for name in CAPTIONS), "loss.caption_dropout", "prior.scale", "samples.prompts", "samples.scale",
    ),
}  # fmt: skip
REASONS = {
    "classes": "this base is told a class and reads no text",
    "nothing": "this base draws what it has learned and is told nothing",
}
MOST_NAMED = 5
ENDLESS = "a " * 1000
"""Longer than any text encoder's window."""


def idle(config: Train, told: str) -> Iterator[Problem]:
    """What was set to something else than its default and would not be looked at."""
    for path in IDLE[told]:
        value, default = config, type(config)
        *sections, name = path.split(".")
        for section in sections:
            value, default = getattr(value, section), type(getattr(value, section))
        if getattr(value, name) != default.model_fields[name].default:
            yield Problem(path, f"{REASONS[told]}; leave it out")


def fitted(config: Train, bundle: Bundle, *, records: Sequence[ImageRecord]) -> Train:
    """The settings as this base can follow them. Raises `BadSetting` for those it cannot follow, before anything is computed."""
    side, asked = bundle.resolution_px, config.images.resolutions
    if bundle.is_framed and any(each != side for each in asked):
        raise BadSetting(f"images.resolution={list(asked)}: this base draws and is shown squares of {side} px alone; leave it out")
    if config.images.long_captions == "join" and bundle.family.num_windows(bundle, ENDLESS) == 1:
        raise BadSetting("images.long_captions=join: this base reads one window of a caption, however long it is; leave it out")
    if config.loss.caption_dropout and not bundle.knows_empty:
        raise BadSetting(f"loss.caption_dropout={config.loss.caption_dropout:g}: this base has no class for pictures of none; leave it out")
    if bundle.told == "classes":
        _check_classes(bundle, records)
        _check_samples(config, bundle, records=records)
    return config.model_copy(update={"images": config.images.model_copy(update={"buckets": False})}) if bundle.is_framed else config


def _check_samples(config: Train, bundle: Bundle, *, records: Sequence[ImageRecord]) -> None:
    prompts, scale = config.samples.prompts or (records[0].caption,), config.samples.scale
    bundle.family.encode_prompts(bundle, prompts)
    try:
        bundle.family.asked(bundle, [Request(prompt, 0, scale=scale) for prompt in prompts])
    except BadSetting as error:
        raise BadSetting(f"samples.{error}") from error


def _check_classes(bundle: Bundle, records: Sequence[ImageRecord]) -> None:
    """Every caption must name a class."""
    problems: dict[str, str] = {}
    for record in records:
        for prompt in record.prompts:
            try:
                bundle.family.encode_prompts(bundle, [prompt])
            except BadSetting as error:
                problems.setdefault(str(error), record.name)
    if problems:
        more = f"\n  and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        listed = "".join(f"\n  {name}: {text}" for text, name in [*problems.items()][:MOST_NAMED])
        raise BadSetting(f"captions are the names of the base's classes, and some are not:{listed}{more}")
