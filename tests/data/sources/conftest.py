"""What the tests of sources share: small pictures, and the state of a user's folder."""

import hashlib
import io
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def png():
    """(number) -> the bytes of a PNG that no other number gives."""
    from PIL import Image

    def draw(number: int) -> bytes:
        kept = io.BytesIO()
        Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 7)).save(kept, "PNG")
        return kept.getvalue()

    return draw


@pytest.fixture
def photos_dir(tmp_path: Path, png) -> Path:
    """`a.png`, `b.png` and `sub/c.png`, alone in a folder."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.png", "sub/c.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return folder


@pytest.fixture
def untouched(tmp_path: Path):
    """(folder) -> a check that nothing in it has changed, been added, or been removed since."""

    def state(folder: Path) -> list[tuple]:
        paths = sorted(Path(above) / name for above, folders, files in os.walk(folder) for name in [".", *files])
        return [
            (str(path), path.stat().st_mtime_ns, path.stat().st_mode, hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"")
            for path in paths
        ]

    def remember(folder: Path):
        before = state(folder)
        assert len(before) > 1

        def check() -> None:
            assert state(folder) == before

        return check

    return remember
