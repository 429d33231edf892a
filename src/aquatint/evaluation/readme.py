"""README.md of a run: what it is and how to use it, for whoever finds the folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aquatint.evaluation import account, snippet
from aquatint.evaluation.record import RunRecord, write_whole


def write_readme(run_dir: Path) -> Path:
    """Write `README.md` into a run folder and return its path. Nothing in the folder is required."""
    record = RunRecord.read(run_dir)
    parts = [_head(record), _essentials(record), _measures(record), _use(record), _files(run_dir), _licence(record)]
    return write_whole(run_dir / "README.md", "\n\n".join(part for part in parts if part) + "\n")


def plain(text: object) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#&!~])", r"\\\1", " ".join(str(text).split()))


def _head(record: RunRecord) -> str:
    picture = "![The same seeds before and after](before_after.png)" if (record.run_dir / "before_after.png").is_file() else ""
    lines = [f"# {plain(record.run_dir.resolve().name)}", plain(account.summary(record))]
    if not record.is_finished:
        lines += [f"**{plain(account.status(record))}** To go on:", _fenced(snippet.command("resume", record), "sh")]
    return "\n\n".join(filter(None, [*lines, picture]))


def _essentials(record: RunRecord) -> str:
    known = [("base", record.fact("base") or record.setting("base")), ("family", record.fact("family")), ("method", record.method)]
    known += [("trigger", record.fact("trigger"))]
    rows = [(name, plain(value)) for name, value in known if value]
    rows += [(name, plain(f"{value} {remark}")) for name, value, remark in account.essentials(record)]
    return _table(("", ""), rows)


def _measures(record: RunRecord) -> str:
    known = [(plain(name.replace("_", " ")), *sides) for name, sides in account.measured(record).items() if any(sides)]
    rows = [(name, _side(before, after), _side(after, before)) for name, before, after in known]
    proof = account.proof_text(record)
    return "\n\n".join(filter(None, [_table(("measure", "before", "after"), rows), proof]))


def _use(record: RunRecord) -> str:
    parts = ["## Use it"]
    if record.is_finished:
        line = snippet.generate_command(record)
        parts += ["With aquatint, in the folder that holds this one:", _fenced(line, "sh")]
    if code := snippet.diffusers_code(record):
        parts += ["With [diffusers](https://github.com/huggingface/diffusers) alone:", _fenced(code, "python")]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _files(run_dir: Path) -> str:
    lines = [f"- `{name}`: {text}" for name, text in account.file_table(run_dir)]
    return "\n".join(["## Files", "", *lines]) if lines else ""


def _licence(record: RunRecord) -> str:
    licence = record.fact("licence", "license", "base_licence", "base_license")
    return f"## Licence\n\nThe base model’s licence is {plain(licence)}; its terms hold for this result too." if licence else ""


def _side(interval: Sequence[float], other: Sequence[float]) -> str:
    mean, ends = account.interval_texts(interval, other)
    return f"{mean} ({ends})" if ends else mean


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fenced(code: str, language: str) -> str:
    """A fence longer than any in the code."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
    return f"{fence}{language}\n{code}\n{fence}"
