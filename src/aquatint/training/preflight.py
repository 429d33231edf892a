"""Everything that can be known to go wrong before a model is loaded, found in seconds and told at once."""

import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aquatint.atomic import free_name
from aquatint.config import Problem, SettingsError
from aquatint.data import sources
from aquatint.data.captions import mention
from aquatint.data.findings import BadData, Finding, counted, listed
from aquatint.data.records import ImageRecord, Scan, scan
from aquatint.data.settings import Images
from aquatint.errors import AquatintError, BadBase, BadSetting
from aquatint.export.architectures import ARCHITECTURES, of_family
from aquatint.families._labelled import of_base
from aquatint.families._sources import resolve
from aquatint.methods.base import NO_TRIGGER
from aquatint.methods.lora import IN_FILE, LoRA
from aquatint.recognition import Recognised, recognise
from aquatint.registry import families
from aquatint.ticker import Ticker
from aquatint.training.conflicts import conflicts
from aquatint.training.folder import RunFolder
from aquatint.training.idle import idle
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
    prior_records: tuple[ImageRecord, ...] = ()
    """All pictures of `prior.data`, where they are to be shown."""


def check(config: Train) -> Checked:
    """Raises `SettingsError` with every problem: settings, base, data, folder, disk."""
    problems: list[Problem] = []
    folder = RunFolder(_out(config, problems))
    base = _recognised(config, problems)
    told = config.method.tells(base.told) if base else "text"
    scanned, prior = _scan(config, problems, told=told), _prior(config, problems, told=base.told if base else "text")
    problems += [*_among_pictures(folder.path, scanned, data=config.data), *idle(config, told)]
    misfit = _misfit(config, base) if base else None
    if base and scanned and not misfit:
        config = _settled(config, base, problems=problems, records=scanned.records)
    wanted = room(config, base.family) if base else None
    export, disk = _export_problem(config, base), _disk_problem(config, folder, wanted=wanted)
    of_prior, size = _prior_problem(config, base), _resolution_problem(config, base)
    problems += filter(None, (misfit, _trigger_problem(config), of_prior, size, export, disk))
    problems += conflicts(config)
    if problems or scanned is None or base is None:
        raise SettingsError(problems)
    findings = (*scanned.findings, *prior.findings, *_prior_doubts(config, scanned.records, prior=prior.records))
    settled: dict[str, object] = {"out": folder.path, "family": base.name}
    if _is_drawn(config, prior):  # there may be pictures in that folder when the run goes on
        settled["prior"] = config.prior.model_copy(update={"data": None})
    return Checked(config.model_copy(update=settled), scanned.records, findings, folder, prior.records)


def _out(config: Train, problems: list[Problem]) -> Path:
    if config.out is None and config.resume:
        problems.append(Problem("resume", "out= must name the run's folder"))
    if config.out is None:
        return free_name(Path("runs") / config.data.resolve().name)
    has_run = (config.out / "config.yaml").is_file()
    if has_run and not config.resume:
        advice = f"go on with it (aquatint resume {config.out}), or choose another folder"
        problems.append(Problem("out", f"{config.out} holds another run; {advice}"))
    own, data = config.out.resolve(), [path for path in (config.data, config.prior.data) if path]
    if within := [path for path in data if own in [path.resolve(), *path.resolve().parents] or path.resolve() in own.parents]:
        problems.append(Problem("out", f"{config.out} and {within[0]} lie in each other; the pictures' folder is never written to"))
    elif not has_run and config.out.is_dir() and {*config.out.iterdir()} - {RunFolder(config.out).log}:  # a log alone: it died at once
        problems.append(Problem("out", f"{config.out} holds files that are not of a run; choose a new or an empty folder"))
    if config.resume and not has_run:
        problems.append(Problem("resume", f"{config.out} holds no run to go on with"))
    if config.out.exists() and not config.out.is_dir():
        problems.append(Problem("out", f"{config.out} is a file; a folder is needed"))
    return config.out


def _scan(config: Train, problems: list[Problem], *, told: str) -> Scan | None:
    images = _of_classes(config.images) if told == "classes" else config.images
    try:
        return scan(config.data, images, trigger=config.trigger, reads_captions=told != "nothing", progress=Ticker("looked at"))
    except BadData as error:
        problems.append(Problem("data", str(error)))
        return None


def _prior(config: Train, problems: list[Problem], *, told: str) -> Scan:
    """The pictures of `prior.data`; none where there is no prior. No trigger is put into their captions."""
    prior = config.prior
    if not (prior.data and config.prior_weight and prior.num != 0):
        return Scan((), ())
    if prior.prompt and sources.is_bare(prior.data):
        return Scan((), (Finding("note", str(prior.data), "holds no pictures; the base draws them, and nothing is written there"),))
    try:
        images = _of_classes(config.prior_images) if told == "classes" else config.prior_images
        found = scan(prior.data, images, reads_captions=told != "nothing")
    except BadData as error:
        problems.append(Problem("prior.data", str(error)))
        return Scan((), ())
    if prior.num and prior.num > len(found.records) and not prior.prompt:
        advice = f"ask for no more, leave prior.num out for all {len(found.records):,}, or give a prior.prompt to draw the others by"
        problems.append(Problem("prior.num", f"{prior.num:,} pictures are asked for and {prior.data} has {len(found.records):,}; {advice}"))
    findings = [replace(each, file=_below(prior.data, each.file)) for each in found.findings]
    return Scan(found.records, tuple(findings))


def _is_drawn(config: Train, scanned: Scan) -> bool:
    """Whether the base draws all pictures of the prior, although a folder is given."""
    prior = config.prior
    return bool(prior.data and prior.prompt and config.prior_weight and prior.num != 0 and not scanned.records)


def _of_classes(images: Images) -> Images:
    """Folders name classes where no caption does."""
    return images.model_copy(update={"caption_from_folder": True})


def _settled(config: Train, base: Recognised, *, problems: list[Problem], records: Sequence[ImageRecord]) -> Train:
    """With what the method finds in the captions."""
    try:
        labels = of_base(resolve(config.base)) if base.told == "classes" else ()
        method = config.method.settled([record.prompts for record in records], labels)
    except (BadSetting, BadBase) as error:
        problems.append(Problem("" if isinstance(error, BadBase) else "data", str(error)))
        return config
    return config.model_copy(update={"method": method})


def _below(source: Path, name: str) -> str:
    return name if name == str(source) else f"{source}/{name}"


def _prior_doubts(config: Train, records: Sequence[ImageRecord], *, prior: Sequence[ImageRecord]) -> list[Finding]:
    """What the network is to learn and to keep at once."""
    learned, named = {record.content_hash for record in records}, mention(config.trigger) if config.trigger else None
    both = [record.name for record in prior if record.content_hash in learned]
    taught = [record.name for record in prior if named and named.search(record.caption)]
    doubts = [
        (both, "among the pictures to learn too", "take them out on one side"),
        (taught, f"with {config.trigger} in the caption, which is to be learned", "write another word for it there"),
    ]
    told = "what the base says about them is to stay, so they hinder learning"
    return [
        Finding("warning", str(config.prior.data), f"{counted(len(names), 'picture')} {what}: {listed(names)}; {told}", advice)
        for names, what, advice in doubts
        if names
    ]


def _among_pictures(out: Path, scanned: Scan | None, *, data: Path) -> list[Problem]:
    """A run in a folder of a mix would be read as pictures of the mix; `_out` knows of a folder that is `data` itself."""
    read = [folder for folder in scanned.folders if folder.resolve() != data.resolve()] if scanned else []
    inside = [folder for folder in read if out.resolve().is_relative_to(folder.resolve())]
    return [Problem("out", f"{out} lies in {folder}, which is never written to") for folder in inside]


def _recognised(config: Train, problems: list[Problem]) -> Recognised | None:
    try:
        return recognise(config.base, config.family)
    except (AquatintError, LookupError) as error:
        problems.append(Problem("", str(error)))
        return None


def _misfit(config: Train, base: Recognised) -> Problem | None:
    reason = config.method.misfit(base.told, base.family)
    return Problem("method", f"{config.method.kind} does not fit {config.base}: {reason}") if reason else None


def _trigger_problem(config: Train) -> Problem | None:
    if not config.method.learns_trigger:
        return None
    if not config.trigger:
        return Problem("trigger", f"method={config.method.kind}: {NO_TRIGGER}")
    plain = " ".join(unicodedata.normalize("NFC", config.trigger).lower().split())
    if plain == config.trigger:
        return None
    return Problem("trigger", f"{config.trigger!r} would be cut up: tokenizers read lower case with single spaces; write {plain!r}")


def _prior_problem(config: Train, base: Recognised | None) -> Problem | None:
    """What the pictures of the class cannot be drawn by, or would not serve for."""
    prior, kind = config.prior, config.method.kind
    if not config.prior_weight or prior.num == 0:
        return None
    asked = [name for name in ("data", "num", "prompt") if getattr(prior, name)]
    if config.method.keeps_rest and asked:
        text = f"method={kind} leaves every prompt without the trigger as it was, so nothing needs to be kept; leave it out"
        return Problem(f"prior.{asked[0]}", text)
    if prior.preserve == "pictures" and not (prior.prompt or prior.data):
        named = "prior.prompt='a photo of a dog'" if base is None or base.told == "text" else "prior.data=FOLDER"
        return Problem("prior.prompt", f"what class is it that you teach? Give {named}; or prior.preserve=outputs, which needs no class")
    if prior.prompt and base and base.told != "text":
        return Problem("prior.prompt", f"{config.base} reads no text; give pictures of the class instead (prior.data=FOLDER)")
    if prior.prompt and config.trigger and mention(config.trigger).search(prior.prompt):
        return Problem("prior.prompt", f"{prior.prompt!r} holds {config.trigger}, which is to be learned; name its class alone")
    return None


def _resolution_problem(config: Train, base: Recognised | None) -> Problem | None:
    free = [family for family in families.load_all().values() if family.pixel_multiple > 1]  # the others take their own size alone
    every = [base.family] if base else free  # of a base that is no model: what none of them could take
    multiple = min(family.pixel_multiple for family in every)
    wrong = [resolution for resolution in config.images.resolutions if resolution % multiple]
    if not wrong:
        return None
    near = ", ".join(str(max(multiple, round(resolution / multiple) * multiple)) for resolution in wrong)
    are = "is not a multiple" if len(wrong) == 1 else "are not multiples"
    return Problem("images.resolution", f"{', '.join(map(str, wrong))} {are} of {multiple}, as this family's networks need; try {near}")


def _export_problem(config: Train, base: Recognised | None) -> Problem | None:
    """Settings that have no form for other programs."""
    if config.export and not isinstance(config.method, LoRA):
        return Problem("export", f"method={config.method.kind} writes no adapter; this is for lora and pivotal")
    if config.export and isinstance(config.method, LoRA) and config.method.variant not in IN_FILE:
        return Problem("export", f"method.variant={config.method.variant} is not among the forms that are converted: {', '.join(IN_FILE)}")
    architecture = of_family(base.name) if base else None
    if config.export and base and architecture is None:
        return Problem("export", f"no other program loads adapters for family={base.name}")
    is_dora = isinstance(config.method, LoRA) and config.method.variant == "dora"
    if config.export and base and architecture and is_dora and ARCHITECTURES[architecture].denoiser == "transformer":
        advice = "leave export= out, or choose another method.variant"
        return Problem("export", f"DoRA for family={base.name} has no form in kohya's names; {advice}")
    return None


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
