"""Everything that can be known to go wrong before a model is loaded, found in seconds and told at once."""

import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from aquatint.config import Problem, SettingsError
from aquatint.data.findings import BadData, Finding
from aquatint.data.records import ImageRecord, Scan, scan
from aquatint.errors import AquatintError
from aquatint.families import _sources
from aquatint.methods.base import NO_TRIGGER
from aquatint.registry import families
from aquatint.ticker import Ticker
from aquatint.training.folder import RunFolder, free_name
from aquatint.training.room import Room, held, room
from aquatint.training.settings import Train

GIB = 2**30


@dataclass(frozen=True)
class Checked:
    """Settings whose `out` and `base` are settled, and the pictures."""

    config: Train
    records: tuple[ImageRecord, ...]
    findings: tuple[Finding, ...]
    folder: RunFolder


def check(config: Train) -> Checked:
    """Raises `SettingsError` with every problem: settings, base, data, folder, disk."""
    problems: list[Problem] = []
    folder = RunFolder(_out(config, problems))
    scanned = _scan(config, problems)
    problems += _among_pictures(folder.path, scanned, data=config.data)
    base = _base_problem(config)
    wanted = None if base else room(config, families[config.family])
    for found in (base, _trigger_problem(config), _resolution_problem(config), _disk_problem(config, folder, wanted=wanted)):
        if found:
            problems.append(found)
    if problems or scanned is None:
        raise SettingsError(problems)
    return Checked(config.model_copy(update={"out": folder.path}), tuple(scanned.records), tuple(scanned.findings), folder)


def _out(config: Train, problems: list[Problem]) -> Path:
    if config.out is None and config.resume:
        problems.append(Problem("resume", "out= must name the run's folder"))
    if config.out is None:
        return free_name(Path("runs") / config.data.resolve().name)
    has_run = (config.out / "config.yaml").is_file()
    if has_run and not config.resume:
        advice = f"go on with it (aquatint resume {config.out}), or choose another folder"
        problems.append(Problem("out", f"{config.out} holds another run; {advice}"))
    own, pictures = config.out.resolve(), config.data.resolve()
    if own == pictures or own in pictures.parents or pictures in own.parents:
        problems.append(Problem("out", f"{config.out} and {config.data} lie in each other; the pictures' folder is never written to"))
    elif not has_run and config.out.is_dir() and {*config.out.iterdir()} - {RunFolder(config.out).log}:  # a log alone: it died at once
        problems.append(Problem("out", f"{config.out} holds files that are not of a run; choose a new or an empty folder"))
    if config.resume and not has_run:
        problems.append(Problem("resume", f"{config.out} holds no run to go on with"))
    if config.out.exists() and not config.out.is_dir():
        problems.append(Problem("out", f"{config.out} is a file; a folder is needed"))
    return config.out


def _scan(config: Train, problems: list[Problem]) -> Scan | None:
    try:
        return scan(config.data, config.images, trigger=config.trigger, needs_captions=True, progress=Ticker("looked at"))
    except BadData as error:
        problems.append(Problem("data", str(error)))
        return None


def _among_pictures(out: Path, scanned: Scan | None, *, data: Path) -> list[Problem]:
    """A run in a folder of a mix would be read as pictures of the mix; `_out` knows of a folder that is `data` itself."""
    read = [folder for folder in scanned.folders if folder.resolve() != data.resolve()] if scanned else []
    inside = [folder for folder in read if out.resolve().is_relative_to(folder.resolve())]
    return [Problem("out", f"{out} lies in {folder}, which is never written to") for folder in inside]


def _base_problem(config: Train) -> Problem | None:
    try:
        family = families[config.family]
        _sources.check(_sources.resolve(config.base), family.PIPELINE)
    except (AquatintError, LookupError) as error:
        return Problem("", str(error))
    return None


def _trigger_problem(config: Train) -> Problem | None:
    if not config.method.learns_trigger:
        return None
    if not config.trigger:
        return Problem("trigger", f"method={config.method.kind}: {NO_TRIGGER}")
    plain = " ".join(unicodedata.normalize("NFC", config.trigger).lower().split())
    if plain == config.trigger:
        return None
    return Problem("trigger", f"{config.trigger!r} would be cut up: tokenizers read lower case with single spaces; write {plain!r}")


def _resolution_problem(config: Train) -> Problem | None:
    try:
        multiple = families[config.family].pixel_multiple
    except LookupError:
        return None
    wrong = [resolution for resolution in config.images.resolutions if resolution % multiple]
    if not wrong:
        return None
    near = ", ".join(str(max(multiple, round(resolution / multiple) * multiple)) for resolution in wrong)
    are = "is not a multiple" if len(wrong) == 1 else "are not multiples"
    return Problem("images.resolution", f"{', '.join(map(str, wrong))} {are} of {multiple}, as this family's networks need; try {near}")


def _disk_problem(config: Train, folder: RunFolder, *, wanted: Room | None) -> Problem | None:
    """`wanted` is None where the base is not known."""
    out = folder.path.absolute()
    there = next(p for p in (out, *out.parents) if p.exists())
    to_write = max(0, wanted.peak - held(folder)) / GIB if wanted else 0.0
    free, needed = shutil.disk_usage(there).free / GIB, to_write + config.min_free_gib
    if free >= needed:
        return None
    found = f"{needed:.1f} GiB are needed at {there} and {free:.1f} GiB are free"
    if not wanted or not wanted.peak:
        return Problem("out", f"{found} (min_free_gib={config.min_free_gib:g}); free some, or choose another out=")
    parts = f"a checkpoint of this run takes {wanted.checkpoint / GIB:.3g} GiB, its result {wanted.result / GIB:.3g} GiB"
    return Problem("out", f"{found} ({parts}); free some, choose another out=, or keep fewer (checkpoints.keep={config.checkpoints.keep})")
