"""How long `aquatint COMMAND --help` takes, for every command: it should feel like no time at all (0.3 s)."""

import argparse
import subprocess
import sys
import time

import record

from aquatint.registry import commands

LIMIT_SECONDS = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often each is asked; the fastest answer counts")
    times = parser.parse_args().times
    record.warn_if_busy()
    asked = [["--help"], *([name.replace("_", "-"), "--help"] for name in commands.names())]
    seconds = {" ".join(arguments): min(_seconds(arguments) for _ in range(times)) for arguments in asked}
    for name, taken in seconds.items():
        print(f"{taken:6.3f} s  aquatint {name}{'  (over the limit)' if taken > LIMIT_SECONDS else ''}")
    print(record.write("help", {"seconds": seconds, "limit_seconds": LIMIT_SECONDS}))


def _seconds(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "aquatint", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
