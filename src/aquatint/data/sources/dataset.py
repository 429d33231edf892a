"""Hugging Face datasets: saved to disk, as Parquet files in a folder, or by their name on the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from aquatint.atomic import replacing
from aquatint.data.findings import BadData, Finding, listed
from aquatint.data.parquet import is_bytes
from aquatint.data.places import Entry, File, Offer, Place, state_of
from aquatint.data.settings import Images
from aquatint.data.sources.columns import MASK, PICTURES, SHARES, below, caption_column, caption_in, file_in, shares_in
from aquatint.data.sources.refusals import absent, bad, offer_of, shown, unusable
from aquatint.errors import why

HUB = "hub:"
HUB_NAME = re.compile(r"hub:(?P<id>[\w.-]+/[\w.-]+)(/(?P<part>[\w.-]+))?(:(?P<split>[\w.-]+))?")
PART_OF_A_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")
SPLIT = re.compile(r"(train|validation|valid|val|dev|test)(?![a-z])")
TRAIN = "train"
BATCH_ROWS, BATCH_PICTURES, BUFFER_BYTES = 1000, 100, 2**20
REFUSALS = (
    (r"gated", "is gated: its owner decides who may have it", "accept its terms on its page on the Hub, then log in: hf auth login"),
    (r"Couldn't reach|[Oo]ffline|ConnectError|Timeout|Max retries|name resolution",
     "cannot be reached: there is no network, or HF_HUB_OFFLINE is set", "connect, or give a local folder"),
    (r"\b401\b|\b403\b|[Uu]nauthorized|Forbidden", "is not open to you, or the token is wrong", "log in: hf auth login"),
    (r"\b404\b|doesn't exist|NotFound", "is not on the Hub, or is private", "check its name; for a private one log in: hf auth login"),
    (r"scripts are no longer supported", "is read by a program of its own, and none is run here", "take one that holds Parquet files"),
    (r"Config name is missing", "has several parts", "name one: hub:OWNER/NAME/PART"),
)  # fmt: skip
"""What a library's error holds, what that means, and what to do."""

Seen = tuple[bool, "str | None"]
"""Of a picture in a row: whether its bytes are there, and its path."""


@dataclass(frozen=True, eq=False)
class Column:
    """Pictures of an opened dataset, as Arrow keeps them: memory-mapped, undecoded."""

    rows: Any
    """A `datasets.Dataset` of this column alone, that gives Arrow tables."""
    name: str
    label: str
    """What errors call the dataset."""
    state: str
    """Of its files and its fingerprint, when it was opened."""


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a dataset."""

    column: Column
    number: int
    """From 0."""
    suffix: str

    def __str__(self) -> str:
        return f"{self.column.label}: row {self.number}"

    def read(self) -> bytes:
        try:
            cell = self.column.rows[self.number][self.column.name][0].as_py()
        except (ValueError, IndexError, KeyError) as error:  # Arrow's errors are ValueErrors and KeyErrors
            raise OSError(f"{self} cannot be read ({why(error)})") from error
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise OSError(f"{self} holds no picture")
        return content

    def signature(self) -> str:
        return f"{self.column.state}:{self.column.name}:{self.number}"


def claims(source: str) -> bool:
    folder = Path(source).expanduser()
    if source.startswith(HUB) or (folder / "dataset_dict.json").is_file():
        return True
    return all((folder / name).is_file() for name in ("state.json", "dataset_info.json")) or bool(_parquet_files(folder))


def read(source: str, images: Images) -> Offer:
    """Entries of a dataset, from its split `train` or the only one. Raises BadData if none can be used."""
    if source.startswith(HUB):
        return _offer(_from_hub(source), images, source=source, root=None)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise absent(source)
    if (folder / "dataset_dict.json").is_file():
        folder /= _split(_splits_on_disk(folder, source=source), source=source, advice=f"give the folder of one, such as {source}/")
    elif files := _parquet_files(folder):
        splits = _by_split(files)
        chosen = _split(list(splits), source=source, advice="put the files of one into a folder of its own: not ")
        return read_parquet(splits[chosen], images, source=source)
    dataset = _opened(source, lambda datasets: datasets.load_from_disk(str(folder), keep_in_memory=False))
    return _offer(dataset, images, source=source, root=folder)


def read_parquet(files: Sequence[Path], images: Images, *, source: str) -> Offer:
    """Entries of Parquet files of one shape. Pictures are taken from a copy in the cache, for Parquet cannot be read row by row."""
    from aquatint.data.kept import default_root

    try:
        state = _digest(map(state_of, files))
    except OSError as error:
        raise unusable(source, f"cannot be read ({error.strerror})", advice="make it readable") from error
    copy = default_root() / "datasets" / f"{state}.arrow"
    dataset = _opened(source, lambda datasets: _from_copy(datasets, files, copy=copy))
    return _offer(dataset, images, source=source, root=files[0].parent, state=state)


def _from_copy(datasets: Any, files: Sequence[Path], *, copy: Path) -> Any:
    """A damaged copy is made anew."""
    try:
        return datasets.Dataset.from_file(str(_copied(files, copy)))
    except (OSError, ValueError):  # Arrow's errors are ValueErrors
        copy.unlink(missing_ok=True)
        return datasets.Dataset.from_file(str(_copied(files, copy)))


def _copied(files: Sequence[Path], copy: Path) -> Path:
    """The rows of all files as one Arrow stream, which can be memory-mapped; made once, and whole or absent.

    `datasets.load_dataset` would hold whole row groups, which may be the whole file.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    if copy.is_file():
        return copy
    with replacing(copy) as aside, ParquetFile(files[0]) as first, pyarrow.ipc.new_stream(aside, first.schema_arrow) as writer:
        for file in files:
            with ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened:
                if not opened.schema_arrow.equals(first.schema_arrow):
                    raise ValueError(f"{file.name} has other columns than {files[0].name}")
                for batch in opened.iter_batches(batch_size=BATCH_PICTURES):
                    writer.write_batch(batch)
    return copy


def _from_hub(source: str) -> Any:
    named = HUB_NAME.fullmatch(source)
    if named is None:
        raise unusable(source, "is no name of a dataset on the Hub", advice="write hub:OWNER/NAME or hub:OWNER/NAME:SPLIT")
    splits = _opened(source, lambda datasets: datasets.load_dataset(named["id"], named["part"]))
    name = source.partition(":")[0] + ":" + source.split(":")[1]
    return splits[_split(list(splits), source=source, advice=f"give one, such as {name}:", asked=named["split"])]


def _opened(source: str, opener: Any) -> Any:
    """What `opener` gets from the library. Raises BadData with the reason in a sentence."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        return opener(datasets)
    except Exception as error:  # of Arrow, fsspec, the Hub and the library itself, each with classes of its own
        raise BadData(Path(source), [_refusal(source, error)]) from error


def _refusal(source: str, error: Exception) -> Finding:
    said = f"{type(error).__name__}: {error}"
    if source.startswith(HUB):
        for pattern, what, advice in REFUSALS:
            if re.search(pattern, said):
                parts = re.findall(r"\[.*\]", said) if "Config name" in said else []
                return Finding("error", source, what + "".join(f": {part}" for part in parts), advice)
    cause = error.__cause__ or error
    return Finding("error", source, f"is no dataset, or is damaged ({type(cause).__name__}: {why(cause)})", "fetch or save it again")


def _splits_on_disk(folder: Path, *, source: str) -> list[str]:
    try:
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return [name for name in splits if (folder / name).is_dir()]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise unusable(source, f"has a dataset_dict.json that cannot be read ({why(error)})", advice="save it again") from error


def _split(splits: Sequence[str], *, source: str, advice: str, asked: str | None = None) -> str:
    """The one asked for, else `train`, else the only one. Raises BadData that lists them."""
    if asked in splits or (asked is None and (TRAIN in splits or len(splits) == 1)):
        return asked or (TRAIN if TRAIN in splits else splits[0])
    if not splits:
        raise unusable(source, "is a dataset without splits")
    what = f"has no split {asked!r}, but {listed(splits)}" if asked else f"has several splits and none is called {TRAIN}: {listed(splits)}"
    raise unusable(source, what, advice=f"{advice}{splits[0]}")


def _parquet_files(folder: Path) -> list[Path]:
    """Those of a dataset as the Hub lays it out; `metadata.parquet` holds captions of the pictures beside it."""
    return sorted(path for path in (folder / "data").glob("*.parquet") if not path.name.startswith((".", "metadata.")))


def _by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """By the split that a name begins with, or by what stands before -00000-of-00001; the rest is `train`."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        named = SPLIT.match(file.stem)
        before = PART_OF_A_SPLIT.sub("", file.stem)
        splits.setdefault(named[0] if named else before if before != file.stem else TRAIN, []).append(file)
    return splits


def _offer(dataset: Any, images: Images, *, source: str, root: Path | None, state: str = "") -> Offer:
    """`root` is what paths in the dataset are relative to; without it they lead nowhere. `state` is that of files it was made from."""
    findings: list[Finding] = []
    known, kinds = list(dataset.features), dataset.features.arrow_schema
    picture = _picture_column(dataset, source=source, findings=findings)
    captions, more = caption_column(known, file=source, images=images, taken=[picture])
    findings += more
    read_too = [name for name in known if name in SHARES or (name == MASK != picture and is_bytes(kinds.field(MASK).type))]
    if read_too:
        findings.append(Finding("note", source, f"read beside pictures and captions: {', '.join(read_too)}"))
    copied = bool(state)
    state = state or _digest([dataset._fingerprint, *(state_of(Path(file["filename"])) for file in dataset.cache_files)])
    rows = dataset.with_format("arrow")
    pictures = [picture, MASK] if MASK in read_too else [picture]
    columns = {name: Column(rows.select_columns([name]), name, label=source, state=state) for name in pictures}
    others = [name for name in known if name == captions or (name in read_too and name not in pictures)]
    name_of = getattr(dataset.features.get(captions), "int2str", None)
    entries: list[tuple[str, Entry]] = []
    for number, (record, seen) in enumerate(_light_rows(rows, columns, others=others)):
        there = [name for name in pictures if name != MASK or any(seen[name])]
        try:
            if captions and name_of and record[captions] is not None:
                record[captions] = name_of(record[captions])
            fields = {"caption": caption_in(record, captions, lines=images.caption_lines), **shares_in(record)}
            places = {name: _place(columns[name], number, seen=seen[name], root=root) for name in there}
        except ValueError as error:
            findings.append(bad(f"{source}, row {number}", str(error), advice="mend it", images=images))
        else:
            entry = Entry(str(number), places[picture], **fields, mask=places.get(MASK))
            entries.append((below(seen[picture][1] or ""), entry))
    return offer_of(source, _named(entries), findings=findings, folders=[root] if root and not copied else [])


def _picture_column(dataset: Any, *, source: str, findings: list[Finding]) -> str:
    """The one that is of pictures; else one that is called so and holds bytes, or else paths. Raises BadData."""
    import datasets

    known, kinds = dataset.features, dataset.features.arrow_schema
    called = [name for name in PICTURES if name in known]
    declared = [name for name, feature in known.items() if isinstance(feature, datasets.Image) and name != MASK]
    chosen: list[str] = sorted(declared, key=lambda name: (name not in called, name))
    chosen = chosen or [name for name in called if is_bytes(kinds.field(name).type)]
    chosen = chosen or [name for name in called if str(kinds.field(name).type) in ("string", "large_string")]
    if not chosen:
        there = listed([f"{field.name} ({field.type})" for field in kinds])
        advice = f"cast the column of pictures to datasets.Image, or call it {PICTURES[0]}"
        raise unusable(source, f"has no column of pictures, but {there}", advice=advice)
    if len(declared) > 1:
        findings.append(Finding("note", source, f"pictures are read from {chosen[0]!r}, not from {', '.join(chosen[1:])}"))
    return chosen[0]


def _light_rows(rows: Any, columns: Iterable[str], *, others: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, Seen]]]:
    """Of each row what is written in `others`, and of its pictures whether they are there and what they are called; no bytes."""
    for table in rows.select_columns([*columns, *others]).iter(batch_size=BATCH_ROWS):
        seen = {name: _seen(table[name]) for name in columns}
        records = table.select(list(others)).to_pylist() if others else [{} for _ in range(len(table))]
        for number, record in enumerate(records):
            yield record, {name: cells[number] for name, cells in seen.items()}


def _seen(cells: Any) -> list[Seen]:
    import pyarrow.compute
    from pyarrow import types

    if not types.is_struct(cells.type):
        if is_bytes(cells.type):
            return [(is_here, None) for is_here in cells.is_valid().to_pylist()]
        return [(False, path) for path in cells.to_pylist()]
    inside = {field.name: pyarrow.compute.struct_field(cells, field.name) for field in cells.type}
    paths = inside["path"].to_pylist() if "path" in inside else [None] * len(cells)
    return list(zip(inside["bytes"].is_valid().to_pylist(), paths, strict=True))


def _place(column: Column, number: int, *, seen: Seen, root: Path | None) -> Place:
    """Raises ValueError where there is no picture."""
    is_here, path = seen
    if is_here:
        return Row(column, number, PurePosixPath(below(path or "")).suffix.lower())
    if not path:
        raise ValueError("holds no picture")
    if root is None:
        raise ValueError(f"holds only the name of a picture, {shown(path[:200])}, and not its bytes")
    found = file_in(root, path)
    if found is None:
        raise ValueError(f"there is no {shown(path[:200])}")
    return File(found)


def _named(entries: Sequence[tuple[str, Entry]]) -> Iterator[Entry]:
    """By the pictures' own names where all have one of their own, else by the number of the row."""
    names = [name for name, _ in entries]
    are_good = all(names) and len(set(names)) == len(names)
    for name, entry in entries:
        yield replace(entry, name=name if are_good else entry.name + PurePosixPath(name).suffix)


def _digest(states: Iterable[str]) -> str:
    return blake2b("\n".join(states).encode(), digest_size=16).hexdigest()
