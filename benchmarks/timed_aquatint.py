"""Child process: `timed_aquatint.py OUT.json assignment...` trains as `aquatint train` does, and writes when each step ended."""

import sys
from pathlib import Path

from timing import Stopwatch

from aquatint.commands import train
from aquatint.training.events import Stepped
from aquatint.training.settings import Train


def main(out: Path, assignments: list[str]) -> None:
    watch = Stopwatch()
    for event in train.run(Train.read(assignments)):
        if isinstance(event, Stepped):
            watch.tick()
    watch.write(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
