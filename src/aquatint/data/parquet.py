"""Rows of Parquet files, without the pictures that may be in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aquatint.errors import why

Records = Iterator[tuple[int, "dict[str, Any] | str"]]
"""(row from 1, what it says or what is wrong with it)"""
BATCH_ROWS = 1000


def parquet_rows(path: Path) -> Records:
    """Rows of a parquet file, without columns of bytes, a thousand at a time; damage ends them with what is wrong."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path, pre_buffer=False) as file:
            columns = [field.name for field in file.schema_arrow if not is_bytes(field.type)]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        yield number + 1, f"is not Parquet, or is damaged ({why(error)})"


def is_bytes(kind: Any) -> bool:
    """Of an Arrow type: bytes, or a struct with bytes in it, as datasets keep pictures."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(is_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))
