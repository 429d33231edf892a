"""Captions from `.json` files that stand beside pictures, as taggers and downloaders write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aquatint.data.captions import COLUMNS, Row, no_text, read_text, stem_of, tidy
from aquatint.data.findings import Finding, counted, listed
from aquatint.data.settings import Images

TAGS = "tags"
"""Stand behind the caption, as in kohya's metadata; alone they are the caption."""


class _Unfit(Exception):
    """What is wrong with a file."""


def json_rows(root: Path, names: Sequence[str], *, images: Images) -> tuple[list[Row], list[Finding]]:
    """Captions of the files `names` (relative, posix): a text, a list of texts, or an object with these under a known key.

    The key is `images.caption_column`, or the first of text, caption and prompt, with `tags` (a text or a list) behind it. A list
    of captions is one caption of several lines. A file without any of it is told in a warning and left aside.
    """
    rows: list[Row] = []
    findings: list[Finding] = []
    others, cut = [], []
    for name in names:
        text, problems = read_text(root, name)
        findings += problems
        if text is None:
            continue
        try:
            captions = _captions(json.loads(text), images)
        except (ValueError, RecursionError) as error:
            findings.append(Finding("error", name, f"is not JSON ({error})"))
        except _Unfit as unfit:
            findings.append(Finding("error", name, str(unfit)))
        else:
            others += [name] if captions is None else []
            cut += [name] if captions and len(captions) > 1 and images.caption_lines == "join" else []
            chosen = (captions or [""])[: 1 if images.caption_lines == "join" else None]
            rows.append(Row(stem_of(name), "\n".join(chosen), name))
    return rows, [*findings, *_remarks(root, others, cut=cut, images=images)]


def _captions(value: Any, images: Images) -> list[str] | None:
    """The alternatives that a file offers, tidied; None if it holds something else. Raises _Unfit."""
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        return _texts(value, "it", images=images)
    if not isinstance(value, Mapping):
        return None
    keys = [images.caption_column] if images.caption_column else COLUMNS
    said = next((_texts(value[key], repr(key), images=images) for key in keys if value.get(key) is not None), None)
    if images.caption_column or value.get(TAGS) is None:
        return said
    tags = ", ".join(_texts(value[TAGS], repr(TAGS), images=images))
    return [", ".join(part for part in (text, tags) if part) for text in said or [""]]


def _texts(value: Any, key: str, *, images: Images) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    problem = next(filter(None, map(no_text, texts)), None)
    if problem:
        raise _Unfit(f"{key} {problem}")
    return [line for text in texts for line in tidy(text, images.caption_lines).splitlines()]


def _remarks(root: Path, others: Sequence[str], *, cut: Sequence[str], images: Images) -> list[Finding]:
    looked = images.caption_column or ", ".join([*COLUMNS, TAGS])
    findings = []
    if others:
        what = f"{counted(len(others), '.json file')} without a caption ({looked}), left aside: {listed(others)}"
        findings.append(Finding("warning", str(root), what, "choose the key by images.caption_column"))
    if cut:
        what = f"{counted(len(cut), '.json file')} with several captions, of which the first is read: {listed(cut)}"
        findings.append(Finding("note", str(root), what, "images.caption_lines=choose reads all"))
    return findings
