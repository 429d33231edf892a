"""How to use a run's result: with diffusers alone, and with aquatint."""

from __future__ import annotations

import json
import re
import shlex

from aquatint.evaluation.record import RunRecord

LOADED_CLASS = re.compile(r"\b([A-Z]\w*)\.from_(?:pretrained|single_file)\(")


def diffusers_code(record: RunRecord) -> str:
    """A complete Python program, or "" when the run did not say how its result is loaded."""
    lines = record.fact("loading_lines")
    lines = [str(line) for line in lines] if isinstance(lines, list) else []
    if not lines:
        return ""
    imported = "\n".join(line for line in lines if re.match(r"\s*(import|from)\s", line))
    classes = [name for name in dict.fromkeys(LOADED_CLASS.findall("\n".join(lines))) if not re.search(rf"\b{name}\b", imported)]
    imports = ["import torch"] if not re.search(r"^import torch$", imported, re.MULTILINE) else []
    imports += [f"from diffusers import {', '.join(classes)}"] if classes else []
    prompt = json.dumps(record.sample_prompt or "", ensure_ascii=False)
    call = f"image = pipe({prompt}, num_inference_steps=30, guidance_scale=5.0, generator=torch.Generator().manual_seed(42)).images[0]"
    return "\n".join([*imports, *([""] if imports else []), *lines, call, 'image.save("result.png")'])


def command(verb: str, record: RunRecord, *, prompt: str | None = None) -> str:
    """A shell line, for the folder that holds the run folder."""
    words = ["aquatint", verb, shlex.quote(record.run_dir.resolve().name)]
    if prompt is not None:
        words.append("prompt=" + (f'"{prompt}"' if not re.search(r'["\\$`!%\n]', prompt) else shlex.quote(prompt)))
    return " ".join(words)
