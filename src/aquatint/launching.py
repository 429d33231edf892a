"""Several processes on CPUs: `accelerate launch --cpu --num_processes N` starts one and says nothing; we start the others."""

import os
import sys
from collections.abc import Sequence


def processes_withheld() -> int:
    """How many processes the launcher was asked for when it started this one alone; 1 when nothing was withheld.

    Accelerate's launcher for CPUs leaves the start of several processes to mpirun: without one it sets the address where
    they would meet, but no rank, and runs a single process.
    """
    has_rank = any(name in os.environ for name in ("RANK", "LOCAL_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"))
    is_alone = "MASTER_ADDR" in os.environ and os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1") and not has_rank
    return _asked_for(_launcher_arguments()) if is_alone else 1


def relaunch(num_processes: int, arguments: Sequence[str]) -> None:
    """Become a `torchrun` of this same command; does not return."""
    options = ["--standalone", "--nproc-per-node", str(num_processes), "-m", "aquatint"]
    environment = {name: value for name, value in os.environ.items() if name not in ("MASTER_ADDR", "MASTER_PORT")}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "torch.distributed.run", *options, *arguments], environment)


def _launcher_arguments() -> list[str]:
    import psutil

    parent = psutil.Process().parent()
    try:
        return parent.cmdline() if parent else []
    except psutil.Error:
        return []


def _asked_for(arguments: Sequence[str]) -> int:
    if not any("accelerate" in argument for argument in arguments):
        return 1
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name.replace("-", "_") == "__num_processes":
            value = value or (arguments[index + 1] if index + 1 < len(arguments) else "")
            return int(value) if value.isdigit() else 1
    return 1
