"""Captions: bytes to text, the places they are read from, and the words that the model is given at last."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aquatint.data.findings import Finding
from aquatint.data.parquet import Records, parquet_rows

SIDECARS = (".txt", ".caption", ".json")
"""What stands beside a picture; a .json file is asked only where nothing else says (`json_captions.py`)."""
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
COLUMNS = ("text", "caption", "prompt")
"""Names under which a table's captions are looked for, in this order."""
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
RESAVE = "save it as UTF-8"
MAX_CAPTION_MIB, MAX_TABLE_MIB = 1, 256
"""Files beyond are no captions, and are not read to the end."""


@dataclass(frozen=True)
class Row:
    """One caption for one picture, and where it stands."""

    picture: str
    """Name relative to the source, posix, NFC; of a sidecar: without suffix."""
    text: str
    """Tidied."""
    place: str


def decode(content: bytes, file: str) -> tuple[str | None, list[Finding]]:
    """Text of UTF-8 (with or without mark), UTF-16, UTF-32, or Windows-1252, the last with a warning; None if it is no text."""
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), None) or _wide(content) or "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            return None, [Finding("error", file, f"is cut off or damaged {encoding.upper()} at byte offset {error.start}", RESAVE)]
        return _decode_western(content, file, offset=error.start)
    if "\0" in text:
        return None, [Finding("error", file, f"is not text: a zero byte at offset {content.index(0)}", RESAVE)]
    return text, []


def caption_of(caption: str | None, *, name: str, trigger: str | None = None, template: str | None = None) -> str | None:
    """What the model reads for one picture; None when nothing says.

    With a template, that, filled in. Else the caption, opened by the trigger if it lacks it. Else the trigger alone.
    """
    if template is not None:
        filled = {"caption": caption, "trigger": trigger, "name": words_of(name)}
        asked = [key for key in filled if "{" + key + "}" in template]
        if any(filled[key] is None for key in asked):
            return None
        return re.sub(r"\{(caption|trigger|name)\}", lambda found: filled[found[1]] or "", template)
    if caption is None:
        return None if trigger is None else trigger if trigger.lower().startswith(("a ", "an ", "the ")) else f"a {trigger}"
    if trigger is None:
        return caption
    return spelled(caption, trigger) if mention(trigger).search(caption) else f"{trigger}, {caption}"


def tidy(text: str, lines: str) -> str:
    """Runs of white space as one space each; of a text whose lines are to be chosen from (`choose`) every line by itself."""
    kept = [" ".join(line.split()) for line in (text.splitlines() if lines == "choose" else [text])]
    return "\n".join(line for line in kept if line)


def mention(trigger: str) -> re.Pattern[str]:
    """Finds the trigger as a word, in any case."""
    return re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)


def torn_words(captions: Iterable[str], trigger: str) -> list[str]:
    """The words in which the trigger is only a part, each once."""
    part = re.escape(trigger)
    longer = re.compile(rf"\w+{part}\w*|\w*{part}\w+", re.IGNORECASE)
    return list(dict.fromkeys(word for caption in captions for word in longer.findall(caption)))


def spelled(text: str, trigger: str) -> str:
    """The text with every mention of the trigger in its own spelling."""
    return mention(trigger).sub(lambda _: trigger, text)


def words_of(name: str) -> str:
    """File name -> words: `x/a_red_cat (3).png` -> `a red cat`. Empty if the name has none."""
    stem = re.sub(r"[_\s]+", " ", PurePosixPath(name).stem).strip()
    return re.sub(r"[\s-]*(\(\d+\)|\b\d+)$", "", stem).strip()


def words_of_folder(name: str) -> str:
    """File name -> words of the folder it is in, without kohya's number of repeats: `cats/10_tabby_cat/1.png` -> `tabby cat`."""
    return re.sub(r"[_\s]+", " ", re.sub(r"^\d+_", "", PurePosixPath(name).parent.name)).strip()


def sidecar_rows(root: Path, names: Sequence[str], *, lines: str = "join") -> tuple[list[Row], list[Finding]]:
    """Captions of the text files `names` (relative, posix) that stand beside pictures; `lines` as in `tidy`."""
    rows, findings = [], []
    for name in names:
        text, problems = read_text(root, name)
        findings += problems
        if text is not None:
            rows.append(Row(stem_of(name), tidy(text, lines), name))
    return rows, findings


def table_rows(root: Path, name: str, *, column: str | None, lines: str = "join") -> tuple[list[Row], list[Finding]]:
    """Captions of one of the TABLES; its `file_name` is relative to its own folder; `lines` as in `tidy`."""
    read, findings = _table_records(root, name)
    records, problems = [], []
    for line, record in read:
        if isinstance(record, str):
            problems.append(Finding("error", f"{name}, line {line}", record))
        else:
            records.append((line, record))
    if not records:
        return [], [*findings, *problems, *([] if findings or problems else [Finding("warning", name, "holds no captions")])]
    known = list(dict.fromkeys(key for _, record in records for key in record))
    chosen = [column] if column else [known_name for known_name in COLUMNS if known_name in known]
    if "file_name" not in known or not chosen or chosen[0] not in known:
        return [], [*findings, *problems, _no_column(name, known, column=column)]
    if len(chosen) > 1:
        what = f"captions are read from {chosen[0]!r}, not {chosen[1]!r}"
        findings.append(Finding("note", name, what, "choose by images.caption_column"))
    rows, more = _rows(name, records, column=chosen[0], lines=lines)
    return rows, [*findings, *problems, *more]


def _table_records(root: Path, name: str) -> tuple[Records, list[Finding]]:
    if name.lower().endswith(".parquet"):
        return parquet_rows(root / name), []
    text, findings = read_text(root, name)
    return (_csv_records if name.lower().endswith(".csv") else _json_records)(text or ""), findings


def same(name: str) -> str:
    """One spelling for names that look alike: macOS stores accents apart, others together."""
    return unicodedata.normalize("NFC", name)


def stem_of(name: str) -> str:
    """What a sidecar and its picture have in common."""
    path = PurePosixPath(name)
    return same(str(path.with_suffix("").with_suffix("") if name.lower().endswith(".nii.gz") else path.with_suffix("")))


def read_text(root: Path, name: str) -> tuple[str | None, list[Finding]]:
    """The text of a file, None where it has none; see `decode`."""
    most_mib = MAX_CAPTION_MIB if name.lower().endswith(SIDECARS) else MAX_TABLE_MIB
    try:
        with (root / name).open("rb") as file:
            content = file.read((most_mib << 20) + 1)
    except OSError as error:
        return None, [Finding("error", name, f"cannot be read ({error.strerror})")]
    if len(content) > most_mib << 20:
        return None, [Finding("error", name, f"has more than {most_mib} MiB", "captions are a few words; remove it")]
    return decode(content, name)


def no_text(value: object) -> str | None:
    """Why a value from JSON is no caption; None if it is one."""
    if not isinstance(value, str):
        return f"is {json.dumps(value)[:60]}, not a text"
    broken = re.search("[\ud800-\udfff\0]", value)
    return f"holds \\u{ord(broken[0]):04x} at character {broken.start()}, which is no letter" if broken else None


def _rows(
    name: str, records: Sequence[tuple[int, Mapping[str, Any]]], *, column: str, lines: str
) -> tuple[list[Row], list[Finding]]:
    folder, rows, findings = PurePosixPath(name).parent, [], []
    for line, record in records:
        picture, text, place = record.get("file_name"), record.get(column), f"{name}, line {line}"
        if not isinstance(picture, str) or not picture.strip():
            findings.append(Finding("error", place, "has no file_name"))
        elif text is not None and (problem := no_text(text)):
            findings.append(Finding("error", place, f"{column!r} {problem}"))
        else:
            path = str(folder / picture.strip().replace("\\", "/"))
            rows.append(Row(same(path), tidy(text or "", lines), place))
    return rows, findings


def _no_column(name: str, known: Sequence[str], *, column: str | None) -> Finding:
    if "file_name" not in known:
        return Finding("error", name, f"has no column file_name, but {', '.join(known)}", "name the column of file names file_name")
    looked = repr(column) if column else ", ".join(COLUMNS)
    return Finding("error", name, f"has no caption column {looked}, but {', '.join(known)}", "choose one by images.caption_column")


def _csv_records(text: str) -> Iterator[tuple[int, dict[str, str] | str]]:
    """(line, record or what is wrong with it); semicolons and tabs separate too, as spreadsheets write them."""
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    try:
        for values in reader:
            if columns is None:
                columns = [value.strip() for value in values]
            elif len(values) == len(columns):
                yield reader.line_num, dict(zip(columns, values, strict=True))
            elif values:
                advice = f'put a caption that contains "{delimiter}" in double quotes'
                yield reader.line_num, f"has {len(values)} values for {len(columns)} columns: {advice}"
    except csv.Error as error:
        yield reader.line_num, f"is not CSV ({error})"


def _json_records(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            record = json.loads(written)
        except ValueError as error:
            yield line, f"is not JSON ({error})"
        except RecursionError:
            yield line, "is nested too deeply"
        else:
            yield line, record if isinstance(record, dict) else "is not a JSON object"


def _wide(content: bytes) -> str | None:
    """UTF-16 without a mark: ordinary letters leave every second byte zero."""
    if len(content) < 4 or len(content) % 2:
        return None
    for encoding, zeros in (("utf-16-le", content[1::2]), ("utf-16-be", content[::2])):
        if zeros.count(0) > len(zeros) * 0.4 and content.count(0) == zeros.count(0):
            return encoding
    return None


def _decode_western(content: bytes, file: str, *, offset: int) -> tuple[str | None, list[Finding]]:
    what = f"is not UTF-8: byte 0x{content[offset]:02x} at offset {offset}"
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        nor = f"nor Windows-1252: byte 0x{content[error.start]:02x} at offset {error.start}"
        return None, [Finding("error", file, f"{what}, {nor}", RESAVE)]
    around = len(content[:offset].decode("cp1252"))
    return text, [Finding("warning", file, f"{what}; read as Windows-1252: “{text[max(0, around - 12) : around + 12].strip()}”", RESAVE)]
