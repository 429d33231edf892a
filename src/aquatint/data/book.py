"""Facts about pictures that take long to find, kept between runs: a small database, beside no user's pictures."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import PIL

from aquatint.data.kept import default_root

VERSION = f"3, Pillow {PIL.__version__}"
"""Of how the facts are found: those of another version are not read."""
SEAL = 8
"""Characters of a checksum before each line of facts."""
PATIENCE_SECONDS = 5
"""Other processes hold the database for less, or for ever."""
AT_ONCE = 500
"""Names in one question, which databases limit."""


class Book:
    """Signature of a place -> facts (what JSON can hold); several processes may use it at once."""

    def __init__(self, path: Path | None = None):
        self._path = path or default_root() / "looks.sqlite3"
        self._is_usable = True

    def read(self, signatures: Iterable[str]) -> dict[str, Any]:
        """The facts of those that are known."""
        if not self._is_usable or not os.path.isfile(self._path):  # False, too, where one may not look
            return {}
        named = {_key(signature): signature for signature in signatures}
        keys, found = list(named), {}
        try:
            with closing(self._open()) as database:
                for start in range(0, len(keys), AT_ONCE):
                    part = keys[start : start + AT_ONCE]
                    marks = ",".join("?" * len(part))
                    for key, line in database.execute(f"SELECT key, facts FROM facts WHERE key IN ({marks})", part):
                        if line == _sealed(text := line[SEAL:]):  # else it was damaged, and is found anew
                            found[named[key]] = json.loads(text)
        except (sqlite3.Error, ValueError, TypeError) as error:
            self._told(error)
        return found

    def write(self, facts: Mapping[str, Any]) -> None:
        if not facts or not self._is_usable:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, facts TEXT) WITHOUT ROWID")
                rows = [(_key(signature), _sealed(json.dumps(fact))) for signature, fact in facts.items()]
                database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            self._told(error)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=PATIENCE_SECONDS)

    def _told(self, error: Exception) -> None:
        self._is_usable = False
        warnings.warn(f"{self._path} cannot be used ({error}): pictures are looked at anew at every start", stacklevel=3)


def _key(signature: str) -> str:
    return hashlib.blake2b(f"{VERSION}:{signature}".encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


def _sealed(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}{text}"
