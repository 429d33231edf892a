"""The command line: names, help, exit codes, plug-ins, signals (R1, R3, R45)."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

import aquatint
from aquatint import cli
from aquatint.errors import AquatintError
from aquatint.registry import UnknownName, commands

NAMES = commands.names()
PLUGIN = '''"""Wait for a signal.

The second paragraph."""
import time
from aquatint import stopping
from aquatint.config import Config
from aquatint.errors import AquatintError
from aquatint.training.events import Noted

class Linger(Config):
    defers: bool = False
    """Poll instead of being interrupted."""
    seconds: float = 30
    warns: bool = False
    fails: bool = False

def run(config: Linger):
    if config.warns:
        yield Noted(step=0, text="no accelerator", is_warning=True)
    if config.fails:
        raise AquatintError("it is broken; mend it")
    yield "ready"
    if config.defers:
        with stopping.deferred():
            while not stopping.is_stop_requested() or config.seconds > 30:
                time.sleep(0.02)
        yield "ended well"
        return
    time.sleep(config.seconds)
    yield "done"
'''


@pytest.fixture(scope="module")
def plugin_dir(tmp_path_factory):
    """An installed package with a command `linger_here`."""
    return install_plugin(tmp_path_factory.mktemp("site"), "linger_here")


def install_plugin(folder, name):
    (folder / "lingering.py").write_text(PLUGIN)
    info = folder / "lingering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lingering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[aquatint.commands]\n{name} = lingering\n")
    return folder


def start(*arguments, path=""):
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "aquatint", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def call(*arguments, path=""):
    process = start(*arguments, path=path)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_help_lists_every_command_with_its_docstring(capsys):
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert len(NAMES) >= 6
    assert "doctor" in NAMES
    for name in NAMES:
        assert commands.describe(name)
        assert f"  {name.replace('_', '-')} " in text


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_its_settings(name, capsys):
    cls = cli.config_class(commands[name])
    assert cli.run([name, "--help"]) == 0
    short = capsys.readouterr().out
    assert cli.run([name, "--help-all"]) == 0
    complete = capsys.readouterr().out
    assert "usage: aquatint" in short
    for field in cls.model_fields:
        assert f"  {field}" in complete
    for path in (*cls.main, *cls.positional):
        assert path in complete
    for alias in cls.aliases:
        assert f"--{alias}" in complete


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"aquatint {version('aquatint')}\n"
    assert aquatint.__version__ == version("aquatint")


def test_the_command_line_imports_without_torch():
    code = (
        "import sys, aquatint.cli, aquatint.commands\n"
        "from aquatint.registry import commands, methods\n"
        "commands.load_all(); methods.load_all()\n"
        "[aquatint.cli.run([n, '--help-all']) for n in commands.names()]\n"
        "print(*[m for m in ('torch', 'diffusers', 'transformers', 'accelerate', 'peft') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == ""


def test_public_names_are_there():
    assert aquatint.AquatintError is AquatintError
    assert set(aquatint._HOMES) <= set(dir(aquatint))
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = aquatint.nothing_such


def test_unknown_command_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'doctor'"):
        cli.run(["docter"])
    code, _, err = call("docter")
    assert (code, err) == (2, "error: unknown command 'docter'; did you mean 'doctor'?\n")


def test_mistakes_in_settings_leave_with_2_and_no_traceback():
    code, out, err = call("doctor", "min_disk_gb=3", "min_memory_gib=x")
    assert (code, out) == (2, "")
    assert "min_disk_gb: unknown setting; did you mean min_disk_gib?" in err
    assert "min_memory_gib: " in err
    assert "Traceback" not in err


def test_show_prints_settings_and_does_nothing(capsys):
    assert cli.run(["doctor", "out=nowhere", "--show"]) == 0
    assert capsys.readouterr().out == "out: nowhere\nmin_disk_gib: 2.0\nmin_memory_gib: 2.0\n"


def test_a_plug_in_is_a_command_like_any_other(plugin_dir):
    assert "  linger-here  Wait for a signal.\n" in call("--help", path=plugin_dir)[1]
    assert "defers=false  Poll instead" in call("linger-here", "--help", path=plugin_dir)[1]
    assert call("linger_here", "seconds=0", path=plugin_dir) == (0, "ready\ndone\n", "")


def test_a_plug_in_may_not_shadow(tmp_path):
    code, _, err = call("--help", path=install_plugin(tmp_path, "doctor"))
    assert code == 2
    assert "the plug-in lingering brings a command 'doctor', which aquatint itself has already" in err


def test_errors_are_sentences(plugin_dir):
    assert call("linger_here", "--fails", path=plugin_dir) == (2, "", "error: it is broken; mend it\n")


def test_strict_makes_warnings_errors(plugin_dir):
    assert call("linger_here", "--warns", "seconds=0", path=plugin_dir) == (0, "warning: no accelerator\nready\ndone\n", "")
    code, out, err = call("linger_here", "--warns", "seconds=0", "--strict", path=plugin_dir)
    assert (code, out) == (1, "")
    assert "no accelerator" in err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_interrupts_a_phase_that_does_not_poll(plugin_dir, signum):
    process = start("linger_here", path=plugin_dir)
    assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    process.send_signal(signum)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 5
    assert err == "\ninterrupted\n"


def test_one_signal_lets_a_polling_phase_end_well(plugin_dir):
    process = start("linger_here", "--defers", path=plugin_dir)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended well\n")
    assert "stopping after this step" in err


def test_the_second_signal_leaves_at_once(plugin_dir):
    process = start("linger_here", "--defers", "seconds=99", path=plugin_dir)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"  # the first was taken
    assert "stopping" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    process.communicate()
