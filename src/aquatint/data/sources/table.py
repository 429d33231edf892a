"""Lists of pictures: .csv, .tsv, .json, .jsonl and .parquet files with a path in each row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aquatint.data.captions import COLUMNS, _csv_records, _json_records, decode
from aquatint.data.findings import Finding, counted, listed
from aquatint.data.parquet import Records, is_bytes, parquet_rows
from aquatint.data.places import Entry, File, Offer
from aquatint.data.settings import Images
from aquatint.data.sources.columns import MASK, PICTURES, SHARES, caption_column, caption_in, file_in, shares_in
from aquatint.data.sources.refusals import absent, bad, offer_of, shown, unusable

UNITS = {".csv": "line", ".tsv": "line", ".jsonl": "line", ".json": "item", ".parquet": "row"}
"""What is counted in each kind of list, by its suffix."""

"""(number from 1, row, or what is wrong with it)."""


def claims(source: str) -> bool:
    return Path(source).suffix.lower() in UNITS and not Path(source).is_dir()


def read(source: str, images: Images) -> Offer:
    """Entries of a list, with paths relative to its own folder or absolute. Raises BadData if none can be used.

    A picture in several rows counts once for each caption. Parquet that holds the pictures themselves goes by `dataset`.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise absent(source)
    if path.suffix.lower() == ".parquet" and _holds_pictures(path):
        from aquatint.data.sources import dataset

        return dataset.read_parquet([path], images, source=source)
    records, findings = _all(path, images=images)
    if not records:
        raise unusable(source, "lists no pictures", others=findings)
    known = list(dict.fromkeys(key for _, record in records for key in record))
    column = next((name for name in PICTURES if name in known), None)
    if column is None:
        advice = f"call the column of paths {PICTURES[0]}"
        raise unusable(source, f"has no column of pictures ({', '.join(PICTURES)}), but {listed(known)}", advice=advice, others=findings)
    captions, more = caption_column(known, file=path.name, images=images, taken=[column])
    findings += more
    if used := [name for name in (*SHARES, MASK) if name in known]:
        findings.append(Finding("note", path.name, f"read beside pictures and captions: {', '.join(used)}"))
    rows, more = _rows(path, records, columns=(column, captions), images=images)
    findings += more
    return offer_of(source, _named(path, rows, findings=findings), findings=findings)


def _all(path: Path, *, images: Images) -> tuple[list[tuple[int, dict[str, Any]]], list[Finding]]:
    """Every sound row. Raises BadData if the file cannot be read at all."""
    findings: list[Finding] = []
    records = []
    try:
        for number, record in _records(path, findings=findings):
            if isinstance(record, str):
                findings.append(bad(_where(path, number), record, advice="mend it", images=images))
            else:
                records.append((number, record))
    except OSError as error:
        raise unusable(str(path), f"cannot be read ({error.strerror})", advice="make it readable") from error
    except RecursionError:
        raise unusable(str(path), "is nested too deeply to be a list of pictures") from None
    return records, findings


def _records(path: Path, *, findings: list[Finding]) -> Records:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from parquet_rows(path)
        return
    text, problems = decode(path.read_bytes(), path.name)
    findings += problems
    if text is not None:
        yield from {".json": _json_list, ".jsonl": _json_records}.get(suffix, _csv_records)(text)


def _json_list(text: str) -> Records:
    """Of a list of objects, or of {name: object} and {name: caption}."""
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        yield 1, f"is not JSON ({error})"
        return
    if isinstance(content, dict) and all(isinstance(value, dict | str) for value in content.values()):
        content = [_of_name(name, value) for name, value in content.items()]
    if not isinstance(content, list):
        held = f"an object of {listed(list(content))}" if isinstance(content, dict) else json.dumps(content)[:60]
        yield 1, f"is neither a list of objects nor {{name: {{…}}}}, but {held}"
        return
    for number, record in enumerate(content, 1):
        yield number, record if isinstance(record, dict) else "is not a JSON object"


def _of_name(name: str, value: Mapping[str, Any] | str) -> dict[str, Any]:
    return {PICTURES[0]: name, COLUMNS[0]: value} if isinstance(value, str) else {**value, PICTURES[0]: name}


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


def _rows(
    path: Path, records: Sequence[tuple[int, Mapping[str, Any]]], *, columns: tuple[str, str | None], images: Images
) -> tuple[list[tuple[Path, dict[str, Any]]], list[Finding]]:
    """(file of the picture, fields of its entry) of the rows that can be used, and what is wrong with the others.

    `columns`: of pictures and of captions.
    """
    rows, findings, num_missing = [], [], 0
    for number, record in records:
        try:
            picture = _file(path.parent, record, column=columns[0])
            fields = {"caption": caption_in(record, columns[1], lines=images.caption_lines), **shares_in(record)}
            if record.get(MASK):
                fields[MASK] = File(_file(path.parent, record, column=MASK))
        except FileNotFoundError as error:
            num_missing += 1
            findings.append(bad(_where(path, number), f"there is no {error.filename}", advice="mend the path", images=images))
        except ValueError as error:
            findings.append(bad(_where(path, number), str(error), advice="mend it", images=images))
        else:
            rows.append((picture, fields))
    if num_missing > 1 and num_missing == len(records):
        what = f"not one of {counted(num_missing, 'picture')} is there: {findings[0].what.removeprefix('skipped: ')}"
        return [], [Finding("error", path.name, what, f"paths are relative to the list's own folder, {path.parent.absolute()}")]
    return rows, findings


def _file(root: Path, record: Mapping[str, Any], *, column: str) -> Path:
    """Raises ValueError if the row gives no path, FileNotFoundError if it gives one to nothing."""
    written = record.get(column)
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"has no {column}")
    if "://" in written:
        raise ValueError(f"{column!r} is a web address ({shown(written.strip()[:60])}): download the picture and give its path")
    found = file_in(root, written.strip())
    if found is None:
        raise FileNotFoundError(None, None, shown(written.strip()[:200]))
    return found


def _named(path: Path, rows: Sequence[tuple[Path, dict[str, Any]]], *, findings: list[Finding]) -> Iterator[Entry]:
    """Names below the list's folder, or below the folder that all pictures share."""
    files = [Path(os.path.normpath(file.absolute())) for file, _ in rows]
    root = Path(os.path.normpath(path.parent.absolute()))
    if any(not file.is_relative_to(root) for file in files):
        root = Path(os.path.commonpath([file.parent for file in files]))
    given: dict[str, list[str | None]] = {}
    twice, again = [], []
    for (picture, fields), file in zip(rows, files, strict=True):
        name = file.relative_to(root).as_posix()
        captions = given.setdefault(name, [])
        if fields["caption"] in captions:
            again.append(name)
            continue
        if captions:
            twice.append(name)
        captions.append(fields["caption"])
        yield Entry(name if len(captions) == 1 else f"{name}#{len(captions)}", File(picture), **fields)
    if again:
        what = f"{counted(len(again), 'row')} repeat a picture with its caption and are left out: {listed(again)}"
        findings.append(Finding("warning", path.name, what, "to show a picture more often give it repeats"))
    if twice:
        what = f"{counted(len(twice), 'row')} give a picture another caption; each counts: {listed(twice)}"
        findings.append(Finding("note", path.name, what))


def _holds_pictures(path: Path) -> bool:
    """Whether a column of pictures holds bytes; a damaged file is told of by whoever reads it."""
    import pyarrow
    from pyarrow.parquet import read_schema

    try:
        schema = read_schema(path)
    except (pyarrow.ArrowException, OSError, ValueError):
        return False
    marked = b'"_type": "Image"' in (schema.metadata or {}).get(b"huggingface", b"")
    return any(is_bytes(field.type) and (marked or field.name in PICTURES) for field in schema)


def _where(path: Path, number: int) -> str:
    return f"{path.name}, {UNITS[path.suffix.lower()]} {number}"
