"""Child process: `timed_diffusers.py OUT.json SCRIPT argument...` runs a diffusers example, and writes when each step ended.

The script is run as it is, but for three things around it: its check for a matching diffusers version says yes,
`Accelerator.log`, which it calls once a step, takes the time, and `torchvision.transforms` is ours where torchvision is
not installed.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import transforms_stand_in
from timing import Stopwatch


def main(out: Path, script: str, *, arguments: list[str]) -> None:
    import accelerate
    import diffusers.utils

    transforms_stand_in.install_if_missing()
    watch = Stopwatch()
    log = accelerate.Accelerator.log

    def timed_log(self: Any, values: dict[str, Any], *, step: int | None = None, log_kwargs: dict[str, Any] | None = None) -> None:
        watch.tick()
        log(self, values, step=step, log_kwargs=log_kwargs or {})

    accelerate.Accelerator.log = timed_log
    diffusers.utils.check_min_version = lambda version: None
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    watch.write(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], arguments=sys.argv[3:])
