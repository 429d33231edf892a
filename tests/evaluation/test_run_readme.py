"""The README of a run, and the program it holds."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from aquatint.evaluation.report import write_readme


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_says_what_it_is_and_which_files_are_what(run_dir: Path) -> None:
    text = write_readme(run_dir).read_text(encoding="utf-8")
    for words in (
        "# my cup", "| parameters trained | 797,184 |", "| likeness | 0.431 (0.412 to 0.452) | 0.702 (0.690 to 0.716) |", "at most 1.23e-7",
        "(before_after.png)", "- `pytorch_lora_weights.safetensors`:", "- `samples`:", "apache-2.0",
    ):  # fmt: skip
        assert words in text, words
    assert "<b>" not in text, "what others wrote is no HTML"
    assert "`checkpoints`" not in text, "files that are not there are not named"


def test_the_program_is_complete(run_dir: Path) -> None:
    (code,) = blocks(write_readme(run_dir).read_text(encoding="utf-8"), "python")
    tree = ast.parse(code)
    assert [ast.unparse(node) for node in tree.body] == [
        "import torch",
        "from diffusers import StableDiffusionPipeline",
        "pipe = StableDiffusionPipeline.from_pretrained('small-base')",
        "pipe.load_lora_weights('run/lora.safetensors')",
        "image = pipe('a photo of sks cup', num_inference_steps=30, guidance_scale=5.0, "
        "generator=torch.Generator().manual_seed(42)).images[0]",
        "image.save('result.png')",
    ]


@pytest.mark.parametrize("prompt", ['say "hi"; $(rm -rf x) `y` \\', "it's\n```\nnew", "ein Fuß", ""])
def test_any_prompt_survives_python_and_the_shell(written: Any, run_dir: Path, prompt: str) -> None:
    written.write_facts({"sample_prompt": prompt or None, "trigger": None})
    text = write_readme(run_dir).read_text(encoding="utf-8")
    code = re.search(r"^(`{3,})python\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    shell = re.search(r"^(`{3,})sh\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    assert shell is not None
    call = next(node for node in ast.walk(ast.parse(code[2])) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "pipe")
    assert ast.literal_eval(call.args[0]) == prompt
    assert shlex.split(shell[2]) == ["aquatint", "generate", "my cup", f"prompt={prompt}"]


def test_imports_already_there_are_not_repeated(written: Any, run_dir: Path) -> None:
    lines = ["import torch", "from diffusers import FluxPipeline", 'pipe = FluxPipeline.from_pretrained("x")']
    written.write_facts({"loading_lines": lines})
    (code,) = blocks(write_readme(run_dir).read_text(encoding="utf-8"), "python")
    assert code.splitlines()[:3] == lines
    assert code.count("import") == 2


def test_an_unfinished_run_is_to_be_resumed(written: Any, run_dir: Path) -> None:
    (run_dir / "facts.json").unlink()
    written.write_log(written.events[:13])
    text = write_readme(run_dir).read_text(encoding="utf-8")
    assert blocks(text, "sh") == ["aquatint resume 'my cup'\n"]
    assert "10 of 40 steps" in text


def test_an_empty_folder_has_one(tmp_path: Path) -> None:
    assert write_readme(tmp_path).read_text(encoding="utf-8").startswith("# ")
