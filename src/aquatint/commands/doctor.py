"""Check this machine: what is here, what is missing, and how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from aquatint.config import Config
from aquatint.errors import AquatintError

if TYPE_CHECKING:
    import torch

OPTIONAL = {
    "gradio": "the studio",
    "tensorboard": "tracking",
    "wandb": "tracking",
    "trackio": "tracking",
    "bitsandbytes": "8-bit optimizers, 4-bit base models",
    "torchao": "quantised base models",
    "prodigyopt": "the prodigy optimizer",
    "xformers": "attention on older GPUs",
    "pydicom": "DICOM pictures",
    "nibabel": "NIfTI volumes",
}
Status = Literal["ok", "note", "FAIL"]


class Doctor(Config):
    out: Path = Path(".")
    """Folder that runs are written to; its disk and permissions are checked."""
    min_disk_gib: float = Field(2.0, ge=0)
    """Free disk below which the check fails."""
    min_memory_gib: float = Field(2.0, ge=0)
    """Free memory below which the check fails."""

    positional: ClassVar[tuple[str, ...]] = ("out",)


@dataclass(frozen=True)
class Finding:
    status: Status
    item: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.status:<5} {self.item:<16} {self.text}"
        return f"{line}\n{'':<22} -> {self.fix}" if self.fix else line


class NotReady(AquatintError):
    """Something that every run needs is missing."""

    exit_code = 1

    def __init__(self, failures: list[Finding]):
        super().__init__(f"this machine is not ready: {', '.join(f.item for f in failures)} (each with its fix above)")


def run(config: Doctor) -> Iterator[str]:
    """A line an item. Raises NotReady at the end if any failed."""
    failures = []
    for check in CHECKS:
        for finding in check(config):
            failures += [finding] if finding.status == "FAIL" else []
            yield str(finding)
    if failures:
        raise NotReady(failures)
    yield "\neverything that training needs is here"


def check_python(config: Doctor) -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} in {sys.prefix}")


def check_packages(config: Doctor) -> Iterator[Finding]:
    """The packages that aquatint's own metadata asks for, in the versions it asks for."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(line) for line in requires("aquatint") or ()]
    except PackageNotFoundError:
        yield Finding("note", "aquatint", "runs from source without being installed", "python -m pip install -e . in its folder")
        return
    yield Finding("ok", "aquatint", version("aquatint"))
    for package in needed:
        if package.marker and not package.marker.evaluate({"extra": ""}):
            continue
        found = _version(package.name)
        if found is None:
            yield Finding("FAIL", package.name, "missing", f"python -m pip install '{package}'")
        elif not package.specifier.contains(found, prereleases=True):
            yield Finding("FAIL", package.name, f"{found}, and {package.specifier} is needed", f"python -m pip install '{package}'")
        else:
            yield Finding("ok", package.name, found)


def check_device(config: Doctor) -> Iterator[Finding]:
    """The torch build and the device it finds."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        yield Finding("FAIL", "torch", f"does not import: {error}", "python -m pip install --force-reinstall torch")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}" if torch.version.hip else "CPU"
    yield Finding("ok", "torch build", f"{torch.__version__}, built for {build}")
    yield _cpu(torch.device("cpu"))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield _gpu(torch.device("cuda", index))
    elif torch.backends.mps.is_available():
        yield Finding("ok", "GPU", "Apple, by MPS")
    elif shutil.which("nvidia-smi"):
        fix = "take a build for the driver: https://pytorch.org/get-started" if build == "CPU" else "check that `nvidia-smi` lists it"
        yield Finding("note", "GPU", f"there is an NVIDIA driver, but torch ({build}) finds no GPU", fix)
    else:
        yield Finding("note", "GPU", "none; training runs on the CPU")


def check_memory(config: Doctor) -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    text = f"{free:.1f} of {psutil.virtual_memory().total / 2**30:.1f} GiB free"
    yield _enough("memory", text, is_enough=free >= config.min_memory_gib, fix="close other programs, or take a machine with more memory")


def check_disk(config: Doctor) -> Iterator[Finding]:
    """Free space and permission where runs, caches and models are written."""
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    cache = os.environ.get("AQUATINT_CACHE") or "~/.cache/aquatint"
    places = {"run folder": (config.out, "out=FOLDER"), "cache": (Path(cache), "AQUATINT_CACHE"), "hub cache": (Path(hub), "HF_HOME")}
    for item, (place, setting) in places.items():
        folder = place.expanduser().absolute()
        if problem := _why_not_writable(folder):
            fix = f"make it writable, or name another folder with {setting}"
            yield Finding("FAIL", item, f"{folder} cannot be written: {problem}", fix)
            continue
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        text = f"{folder}, {free:.1f} GiB free"
        yield _enough(item, text, is_enough=free >= config.min_disk_gib, fix=f"free some space, or name another disk with {setting}")


def check_network(config: Doctor) -> Iterator[Finding]:
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    text = "offline (HF_HUB_OFFLINE): models come from the cache alone" if is_offline else "online: models are downloaded when needed"
    yield Finding("ok", "hub", text)


def check_optional(config: Doctor) -> Iterator[Finding]:
    for name, purpose in OPTIONAL.items():
        found = _version(name)
        yield Finding("ok" if found else "note", name, f"{found or 'absent'} (optional: {purpose})")


CHECKS: tuple[Callable[[Doctor], Iterator[Finding]], ...] = (
    check_python, check_packages, check_device, check_memory, check_disk, check_network, check_optional,
)  # fmt: skip


def is_supported(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether code built for `architectures` (`sm_80`, `compute_90`) runs on a GPU.

    Binaries (`sm_`) run on the same major number from their minor on; PTX (`compute_`) on anything newer.
    """
    major, minor = capability
    for name in architectures:
        prefix, _, digits = name.partition("_")
        number = int("".join(c for c in digits if c.isdigit()))
        if prefix == "sm" and number // 10 == major and number % 10 <= minor:
            return True
        if prefix == "compute" and number <= major * 10 + minor:
            return True
    return False


def _cpu(device: torch.device) -> Finding:
    import torch

    from aquatint.training.precision import is_bf16_fast

    speed = "faster than fp32" if is_bf16_fast(device) else "not faster than fp32, so fp32 is used"
    return Finding("ok", "CPU", f"{torch.get_num_threads()} threads of {os.cpu_count()} cores; bf16 is {speed}")


def _gpu(device: torch.device) -> Finding:
    import torch

    capability, built = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
    item, name = f"GPU {device.index}", torch.cuda.get_device_name(device)
    if torch.version.cuda and not is_supported(capability, built):
        text = f"{name} has capability {capability[0]}.{capability[1]}, and this torch was built for {', '.join(built)}"
        return Finding("FAIL", item, text, "install a torch built for it (https://pytorch.org/get-started), or train with cpu=true")
    free, total = (n / 2**30 for n in torch.cuda.mem_get_info(device))
    return Finding("ok", item, f"{name}, capability {capability[0]}.{capability[1]}, {free:.1f} of {total:.1f} GiB free")


def _enough(item: str, text: str, *, is_enough: bool, fix: str) -> Finding:
    return Finding("ok", item, text) if is_enough else Finding("FAIL", item, text, fix)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _why_not_writable(folder: Path) -> str:
    """Empty if a file can be written there; leaves nothing behind."""
    place = _existing(folder)
    if not place.is_dir():
        return f"{place} is a file"
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"aquatint")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
