"""What answers at once imports nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "gradio", "numpy")
LIGHT = """
import sys
from importlib import import_module
from aquatint.registry import commands, methods

modules = ["aquatint", "aquatint.cli", "aquatint.errors", "aquatint.config", "aquatint.registry", "aquatint.manual",
           "aquatint.data.settings", "aquatint.training.settings"]
for name in modules:
    import_module(name)
print(len(commands.load_all()), len(methods.load_all()))
print(*sorted({m.partition(".")[0] for m in sys.modules} & set(sys.argv[1:])))
"""


def test_settings_and_commands_import_without_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", LIGHT, *HEAVY], capture_output=True, text=True, check=True)
    counts, loaded = ended.stdout.splitlines()
    num_commands, num_methods = map(int, counts.split())
    assert num_commands >= 6
    assert num_methods >= 2
    assert loaded == ""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "--help-all"], ["train", "data=x", "--show"]])
def test_help_imports_without_torch(arguments: list[str]) -> None:
    code = "import sys; from aquatint.cli import run; run(sys.argv[1:]); print(*sorted(m for m in sys.modules if '.' not in m))"
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(ended.stdout.splitlines()[-1].split())
