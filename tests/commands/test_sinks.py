"""Readers of the event stream: console, log, --strict (R45)."""

import io
import json

import pytest

from aquatint import sinks
from aquatint.training.events import Finished, Noted, Sampled, Saved, Skipped, Started, Stepped, Stopped, Validated


class Terminal(io.StringIO):
    def isatty(self):
        return True


def a_run(num_steps=200, start=0):
    yield Noted(step=start, text="steps=200: twelve pictures")
    yield Noted(step=start, text="[bold]slow disk", is_warning=True)
    yield Started(step=start, num_steps=num_steps, num_trainable=123456)
    for step in range(start + 1, num_steps + 1):
        yield Stepped(step=step, loss=1 / step, learning_rate=1e-4, gradient_norm=1.0, seconds=0.5)
    yield Finished(step=num_steps, seconds=3725, measures={"images_per_second": 3.5})


@pytest.mark.parametrize(("num_steps", "most"), [(200, 22), (7, 7), (100_000, 22)])
def test_without_a_terminal_a_run_is_about_twenty_lines(num_steps, most):
    out = io.StringIO()
    sinks.console(a_run(num_steps), out=out)
    lines = [line for line in out.getvalue().splitlines() if line.startswith("step ")]
    assert min(num_steps, 20) <= len(lines) <= most
    assert lines[0].startswith(f"step 1/{num_steps}  loss 1.0000  2.00 steps/s  ")
    assert lines[-1].startswith(f"step {num_steps}/{num_steps}  ")
    assert "0 s left" in lines[-1]
    assert "warning: [bold]slow disk\n" in out.getvalue()
    assert "finished after 1 h 02 min\n  images_per_second 3.5\n" in out.getvalue()


def test_a_terminal_gets_a_bar_with_the_same_numbers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()
    sinks.console(a_run(), out=out)
    text = out.getvalue()
    assert "200/200" in text
    assert "2.00 steps/s" in text
    assert "\x1b[33mwarning: [bold]slow disk" in text  # yellow, and not read as markup
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is shown again


def test_an_error_in_the_stream_leaves_the_terminal_in_order(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")

    def broken():
        yield Started(step=0, num_steps=3, num_trainable=1)
        raise OSError("gone")

    out = Terminal()
    with pytest.raises(OSError, match="gone"):
        sinks.console(broken(), out=out)
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") > 0


def test_stopping_prints_the_command_that_goes_on(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "step_0000003"
    checkpoint.mkdir(parents=True)
    out = io.StringIO()
    sinks.console(iter([Stopped(step=3, path=checkpoint)]), out=out)
    assert f"aquatint resume {tmp_path / 'run'}\n" in out.getvalue()
    (checkpoint.parent / "config.yaml").write_text("")  # the nearest folder with settings is the run
    assert sinks.run_dir(checkpoint) == checkpoint.parent


def test_strings_and_renderables_are_printed():
    from rich.table import Table

    table = Table("name")
    table.add_row("cell")
    out = io.StringIO()
    sinks.console(iter(["[plain] text", table]), out=out)
    assert out.getvalue().startswith("[plain] text\n")
    assert "cell" in out.getvalue()


def test_loss_is_smoothed_without_bias():
    pace = sinks.Pace(num_steps=10)
    for step in range(1, 5):
        pace.take(Stepped(step=step, loss=float(step), learning_rate=0, gradient_norm=0, seconds=2))
    assert pace.loss == pytest.approx(2.5)  # the plain mean while there are few
    assert "12 s left" in pace.describe()


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK"])
def test_only_the_first_process_speaks(monkeypatch, tmp_path, variable):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv(variable, "1")
    out, seen = io.StringIO(), []

    def stream():
        for event in a_run(3):
            seen.append(event)
            yield event

    sinks.console(sinks.log(stream(), tmp_path / "log.jsonl"), out=out)
    assert (out.getvalue(), len(seen), (tmp_path / "log.jsonl").exists()) == ("", 7, False)


def test_the_log_holds_every_event_as_strict_json(tmp_path):
    path = tmp_path / "log.jsonl"
    events = [
        "a line", Skipped(step=1, loss=float("nan"), gradient_norm=float("inf")), Validated(step=2, loss=0.5), Saved(step=2, path=tmp_path),
        Sampled(step=2, paths=(tmp_path / "é.png",)),
    ]  # fmt: skip
    assert list(sinks.log(iter(events), path)) == events
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["Text", "Skipped", "Validated", "Saved", "Sampled"]
    assert (lines[1]["loss"], lines[2]["loss"]) == (None, 0.5)
    assert (lines[3]["path"], lines[4]["paths"]) == (str(tmp_path), [str(tmp_path / "é.png")])
    assert all(line["time"] > 1e9 for line in lines)
    list(sinks.log(iter(["again"]), path))
    assert len(path.read_text().splitlines()) == 6


def test_a_log_that_cannot_be_written_does_not_stop_the_run(tmp_path, capsys):
    assert list(sinks.log(iter(["a", "b"]), tmp_path)) == ["a", "b"]  # a folder is no file
    assert capsys.readouterr().err.count("warning") == 1


def test_closing_a_reader_closes_the_run(tmp_path):
    closed = []

    def run():
        try:
            yield "first"
            yield "second"
        finally:
            closed.append(True)

    held = run()
    reader = sinks.log(sinks.strict(held), tmp_path / "log.jsonl")
    next(reader)
    reader.close()
    assert closed == [True]


def test_strict_refuses_warnings_before_training_alone():
    with pytest.raises(sinks.Refused, match="slow disk"):
        list(sinks.strict(a_run()))
    late = [Started(step=0, num_steps=1, num_trainable=1), Noted(step=1, text="late", is_warning=True)]
    assert list(sinks.strict(iter(late))) == late
