"""Files that are whole or absent: written beside their place, flushed, renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Inside, write to the given path beside the target (a file or a folder); it takes the target's name at the end."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(aside)
    try:
        yield aside
        for file in [aside] if aside.is_file() else [p for p in aside.rglob("*") if p.is_file()]:
            flush(file)
        if path.is_dir():
            _remove(path)
        os.replace(aside, path)
        flush(path.parent)
    finally:
        _remove(aside)


def free_name(wanted: Path) -> Path:
    """`wanted`, or the first of wanted-2, wanted-3 … that nothing has yet: nothing is written over. A file keeps its suffix."""
    path, count = wanted, 1
    while path.exists():
        count += 1
        path = wanted.with_name(f"{wanted.stem}-{count}{wanted.suffix}")
    return path


def flush(path: Path) -> None:
    """Force a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
