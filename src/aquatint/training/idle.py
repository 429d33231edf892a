"""Settings that would have no effect for what a base is told, or can draw: refused, not ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aquatint.config import Problem
from aquatint.errors import BadSetting
from aquatint.families._labelled import unknown

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
    "classes": ("trigger", "images.long_captions"),
    "nothing": ("trigger", *(f"images.{name}" for name in CAPTIONS), "loss.caption_dropout", "samples.prompts", "samples.scale"),
}
REASONS = {
    "classes": "this base is told a class and reads no text",
    "nothing": "this base draws what it has learned and is told nothing",
}
MOST_NAMED = 5


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
    if bundle.told == "classes":
        _check_empty(config, bundle)
        _check_classes(bundle, [*records], new=config.method.new_classes)
    return config.model_copy(update={"images": config.images.model_copy(update={"buckets": False})}) if bundle.is_framed else config


def _check_empty(config: Train, bundle: Bundle) -> None:
    if config.loss.caption_dropout and not bundle.knows_empty:
        raise BadSetting(f"loss.caption_dropout={config.loss.caption_dropout:g}: this base has no class for pictures of none; leave it out")


def _check_classes(bundle: Bundle, records: Sequence[ImageRecord], *, new: Sequence[str]) -> None:
    """Every caption must name a class of the base, or one of the new ones."""
    problems: dict[str, str] = {}
    for record in records:
        for prompt in unknown(record.prompts, new):
            try:
                bundle.family.encode_prompts(bundle, [prompt])
            except BadSetting as error:
                problems.setdefault(str(error), record.name)
    if problems:
        more = f"\n  and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        listed = "".join(f"\n  {name}: {text}" for text, name in [*problems.items()][:MOST_NAMED])
        raise BadSetting(f"captions are the names of the base's classes, and some are not:{listed}{more}")
