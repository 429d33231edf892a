"""WebDataset: pictures and captions as members of tar archives, found by one pass over the headers."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path, PurePosixPath
from typing import IO, Any

from aquatint.data import scans
from aquatint.data.captions import COLUMNS, decode, same
from aquatint.data.findings import BadData, Finding, counted, listed
from aquatint.data.pictures import SUFFIXES
from aquatint.data.places import Entry, Offer, Stretch
from aquatint.data.settings import Images
from aquatint.data.sources.columns import MASK, caption_in
from aquatint.data.sources.refusals import absent, bad, offer_of, shown, unusable
from aquatint.data.tree import JUNK, is_text, natural
from aquatint.errors import why

TAR = ".tar"
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MAGICS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
UNPACK = "unpack it: only then can its members be read where they lie"
ONE_PICTURE = "a key is all before the first dot: keep one picture of each, or take dots out of its name"
TEXTS = ("txt", "caption")
MAX_TEXT_BYTES = 2**20
"""More is no caption."""
MAX_HEADER_BYTES = 2**20
"""Of one read for a header; long names and their like are shorter."""
PADDING_BYTES = 2**16
"""More zeros than any writer fills its last record with."""
MAX_SHARDS = 100_000
BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<words>[^{}]*,[^{}]*))\}")

Member = tuple[str, int, int]
"""Name, offset and length in bytes."""


class _Bounded:
    """A file of which a header can claim no more than headers need."""

    def __init__(self, file: IO[bytes]):
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header announces {size:,} bytes")
        return self._file.read(size)


def claims(source: str) -> bool:
    path = Path(source).expanduser()
    if path.is_dir():
        return _is_folder_of_shards(path)
    return source.lower().endswith((TAR, *PACKED))


def read(source: str, images: Images) -> Offer:
    """Entries of a .tar, a folder of them, or a pattern (`a-{000..009}.tar`, `a-*.tar`). Raises BadData if none can be used."""
    shards, findings = _shards(source)
    stems = _stems(shards)
    entries: list[Entry] = []
    for shard in shards:
        groups, problems = _groups(shard, images=images)
        findings += problems
        prefix = f"{stems[shard]}/" if len(shards) > 1 else ""
        entries += _entries(shard, groups, prefix=prefix, images=images, findings=findings)
    if images.caption_column and not any(entry.caption for entry in entries):
        what = f"not one .json beside a picture has a text under {images.caption_column!r}"
        findings.append(Finding("error", source, what, "choose one by images.caption_column"))
    folders = [Path(source).expanduser()] if Path(source).expanduser().is_dir() else []
    return offer_of(source, entries, findings=findings, folders=folders)


def expanded(pattern: str) -> list[str]:
    """Every name that braces stand for: `{08..10}` is 08, 09, 10 and `{a,b}` is a, b. Raises ValueError beyond 100,000."""
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    if found["words"] is not None:
        middles = found["words"].split(",")
    else:
        first, last = int(found["first"]), int(found["last"])
        if abs(last - first) >= MAX_SHARDS:
            raise ValueError(f"{found[0]} stands for more than {MAX_SHARDS:,} shards")
        numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        width = len(found["first"]) if found["first"].startswith("0") or found["last"].startswith("0") else 0
        middles = [f"{number:0{width}d}" for number in numbers]
    rest = expanded(pattern[found.end() :])
    if len(middles) * len(rest) > MAX_SHARDS:
        raise ValueError(f"stands for more than {MAX_SHARDS:,} shards")
    return [pattern[: found.start()] + middle + end for middle in middles for end in rest]


def _shards(source: str) -> tuple[list[Path], list[Finding]]:
    """In natural order. Raises BadData that names all that are missing or packed."""
    path = Path(source).expanduser()
    findings: list[Finding] = []
    if path.is_dir():
        found = sorted((Path(entry.path) for entry in _seen(path)), key=lambda shard: natural(shard.name))
        if others := [shard.name for shard in found if not _is_shard(shard.name)]:
            findings.append(Finding("note", source, f"no archives, left aside: {listed(others)}"))
        shards = [shard for shard in found if _is_shard(shard.name)]
    else:
        shards = _named(path, source=source)
    problems = [Finding("error", str(shard), "there is no such file") for shard in shards if not shard.is_file()]
    for shard in shards:
        packed = _packing(shard)
        if packed:
            problems.append(Finding("error", str(shard), f"is packed ({packed})", UNPACK))
    if problems:
        raise BadData(path, problems)
    return shards, findings


def _named(path: Path, *, source: str) -> list[Path]:
    if path.exists():
        return [path]
    try:
        names = expanded(str(path))
    except ValueError as error:
        raise unusable(source, str(error)) from None
    shards = [Path(found) for name in names for found in (sorted(glob(name, recursive=True), key=natural) if glob_in(name) else [name])]
    if not shards:
        raise unusable(source, "no file is called so")
    if shards == [path]:
        raise absent(source)
    return list(dict.fromkeys(shards))


def glob_in(name: str) -> bool:
    """Whether it stands for other names; a file that is really called so stands for itself."""
    return any(mark in name for mark in "*?[") and not os.path.exists(name)


def _groups(shard: Path, *, images: Images) -> tuple[dict[str, dict[str, Member]], list[Finding]]:
    """Key -> suffix -> member, and what is wrong with the archive; all before the damage is kept."""
    groups: dict[str, dict[str, Member]] = {}
    findings: list[Finding] = []
    left, twice = [], []
    try:
        for member in _members(shard):
            name = PurePosixPath(member.name)
            if any((part.startswith(".") and part != "..") or part.lower() in JUNK for part in name.parts):
                continue
            if not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts:
                left += [] if member.isdir() else [member.name]
                continue
            base, _, suffix = name.name.partition(".")
            if not is_text(member.name):
                findings.append(bad(f"{shard}: {shown(member.name)}", "has a name that is not UTF-8", advice="rename it", images=images))
                continue
            group = groups.setdefault(same(str(name.with_name(base))), {})
            if suffix.lower() in group:
                twice.append(member.name)
            group[suffix.lower()] = (str(name), member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        findings.append(bad(str(shard), why(error), advice="fetch it again: what stands before is sound", images=images))
    if left:
        what = f"links, special files and names that lead out of the archive, left aside: {listed(left)}"
        findings.append(Finding("warning", str(shard), what))
    if twice:
        findings.append(Finding("warning", str(shard), f"given twice, the last counts: {listed(twice)}"))
    return groups, findings


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """Headers that announce what is there; none is kept. Raises TarError or OSError, with a sentence, where the archive is damaged."""
    size = shard.stat().st_size
    with shard.open("rb") as file:
        try:
            tar = tarfile.TarFile(fileobj=_Bounded(file), encoding="utf-8")  # type: ignore[arg-type]  # of a file it asks no more
        except Exception as error:  # headers lead tarfile into ValueError, RecursionError and more
            raise tarfile.ReadError(f"is not a tar archive, or is damaged from its first byte ({why(error)})") from error
        offset = -1
        while True:
            try:
                member = tar.next()
            except Exception as error:
                raise tarfile.ReadError(f"is damaged or cut off near byte {tar.offset:,} ({why(error)})") from error
            if member is None:
                break
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            if not 0 <= member.size <= size - member.offset_data:
                ends = f"{shown(member.name[:200])} should end at byte {member.offset_data + member.size:,} of {size:,}"
                raise tarfile.ReadError(f"is cut off or damaged: {ends}")
            if member.offset <= offset:
                raise tarfile.ReadError(f"is damaged at byte {member.offset:,}: it leads back")
            offset = member.offset
            yield member
        file.seek(tar.offset)
        end = file.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            how = "cut off" if len(end) < tarfile.BLOCKSIZE else "damaged"
            raise tarfile.ReadError(f"is {how} at byte {tar.offset:,}: there is no end mark")
        if any(file.read(PADDING_BYTES)):
            raise tarfile.ReadError(f"goes on after its end mark at byte {tar.offset:,}: archives that were joined must be taken apart")


def _entries(
    shard: Path, groups: Mapping[str, Mapping[str, Member]], *, prefix: str, images: Images, findings: list[Finding]
) -> Iterator[Entry]:
    without: list[str] = []
    with shard.open("rb") as file:
        for key, group in groups.items():
            pictures = {suffix: member for suffix, member in group.items() if _is_picture(suffix)}
            masks = [pictures.pop(suffix) for suffix in sorted(pictures) if len(pictures) > 1 and suffix.startswith(f"{MASK}.")]
            plain = [suffix for suffix in pictures if "." not in suffix] or list(pictures)
            if not plain:
                without.append(key)
                continue
            if len(plain) > 1:
                what = f"has {len(plain)} pictures: {', '.join(plain)}"
                findings.append(bad(f"{shard}, {key}", what, advice=ONE_PICTURE, images=images))
                continue
            name, offset, num_bytes = pictures[plain[0]]
            caption = _caption(file, group, images=images, findings=findings, shard=shard)
            mask = Stretch(shard, *masks[0]) if masks else None
            yield Entry(prefix + same(name), Stretch(shard, name, offset, num_bytes), caption, mask=mask)
    if without:
        findings.append(Finding("warning", str(shard), f"{counted(len(without), 'key')} without a picture: {listed(without)}"))


def _caption(file: IO[bytes], group: Mapping[str, Member], *, images: Images, findings: list[Finding], shard: Path) -> str | None:
    """Of .txt, .caption or .json, the first that says something; of .json alone when a column is asked for."""
    for suffix in ("json",) if images.caption_column else (*TEXTS, "json"):
        if suffix not in group:
            continue
        name, offset, num_bytes = group[suffix]
        where = f"{shard}: {name}"
        if num_bytes > MAX_TEXT_BYTES:
            findings.append(Finding("error", where, f"holds {num_bytes:,} bytes, too many for a caption", "shorten or remove it"))
            continue
        file.seek(offset)
        text, problems = decode(file.read(num_bytes), where)
        findings += problems
        try:
            found = _in_json(text or "{}", images) if suffix == "json" else (text or "").strip() or None
        except (ValueError, RecursionError) as error:
            findings.append(Finding("error", where, f"gives no caption ({why(error)})", "mend or remove it"))
            continue
        if found:
            return found
    return None


def _in_json(text: str, images: Images) -> str | None:
    record: Any = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    names = [images.caption_column] if images.caption_column else COLUMNS
    return next((found for name in names if (found := caption_in(record, name, lines=images.caption_lines))), None)


def _is_picture(suffix: str) -> bool:
    return "." + suffix.rpartition(".")[2] in SUFFIXES or scans.is_scan(f".{suffix}")


def _is_shard(name: str) -> bool:
    return name.lower().endswith((TAR, *PACKED))


def _is_folder_of_shards(folder: Path) -> bool:
    """Archives, no folders and no pictures."""
    entries = _seen(folder)
    archives = [entry for entry in entries if _is_shard(entry.name)]
    return bool(archives) and not any(entry.is_dir() or PurePosixPath(entry.name).suffix.lower() in SUFFIXES for entry in entries)


def _seen(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.name.lower() not in JUNK]
    except OSError:
        return []


def _packing(shard: Path) -> str | None:
    """How it is compressed, by its first bytes."""
    try:
        with shard.open("rb") as file:
            head = file.read(8)
    except OSError:
        return None
    return next((name for magic, name in MAGICS.items() if head.startswith(magic)), None)


def _stems(shards: Sequence[Path]) -> dict[Path, str]:
    """What tells each archive from the others, without its suffix."""
    root = os.path.commonpath([shard.absolute().parent for shard in shards])
    return {shard: os.path.relpath(shard.absolute(), root).replace(os.sep, "/").removesuffix(TAR) for shard in shards}
