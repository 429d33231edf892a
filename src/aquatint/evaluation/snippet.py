"""How to use a run's result: with diffusers alone, and with aquatint."""

from __future__ import annotations

import json
import re
import shlex

from aquatint.evaluation.record import RunRecord

LOADED_CLASS = re.compile(r"\b([A-Z]\w*)\.from_(?:pretrained|single_file|config)\(")
SEED = "generator=torch.Generator().manual_seed(42)"
CALLS = {
    "text": "image = pipe({prompt}, num_inference_steps=30, guidance_scale=5.0, {seed}).images[0]",
    "classes": "image = pipe(class_labels=[{label}], num_inference_steps=30, guidance_scale=5.0, {seed}).images[0]",
    "nothing": "image = pipe(num_inference_steps=30, {seed}).images[0]",
    "classes by hand": """\
pipe.scheduler.set_timesteps(30)
image = torch.randn({shape}, {seed})
for t in pipe.scheduler.timesteps:
    with torch.no_grad():
        noise = pipe.unet(image, t, torch.tensor([{label}])).sample
    image = pipe.scheduler.step(noise, t, image).prev_sample
image = pipe.numpy_to_pil((image / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())[0]""",
}
"""What the model is told -> how a picture is drawn."""
SAY_NO_CLASS = ("DDPMPipeline", "DDIMPipeline")
"""Pipelines whose network may have to be told a class, which they cannot."""


def diffusers_code(record: RunRecord) -> str:
    """A complete Python program, or "" when the run did not say how its result is loaded."""
    lines = record.fact("loading_lines")
    lines = [str(line) for line in lines] if isinstance(lines, list) else []
    if not lines:
        return ""
    lines += _drawing(record)
    imported = [line for line in lines if re.match(r"(import|from)\s", line)]
    known = "\n".join(imported)
    classes = [name for name in dict.fromkeys(LOADED_CLASS.findall("\n".join(lines))) if not re.search(rf"\b{name}\b", known)]
    imports = ["import torch"] if "import torch" not in imported else []
    imports += [*imported, f"from diffusers import {', '.join(classes)}"] if classes else imported
    gap = [""] if imports != imported else []
    return "\n".join([*imports, *gap, *(line for line in lines if line not in imported), 'image.save("result.png")'])


def _drawing(record: RunRecord) -> list[str]:
    """With the scheduler of the run where that is not the base's own."""
    pipeline, told = record.fact("pipeline"), record.told
    scheduler = record.fact("scheduler") if pipeline == "DDPMPipeline" else None
    known = {
        "prompt": json.dumps(record.sample_prompt or "", ensure_ascii=False), "label": record.fact("label"), "seed": SEED,
        "shape": ", ".join(map(str, record.fact("shape") or ())),
    }  # fmt: skip
    call = CALLS["classes by hand" if told == "classes" and pipeline in SAY_NO_CLASS else told].format(**known)
    return [*([f"pipe.scheduler = {scheduler}.from_config(pipe.scheduler.config)"] if scheduler else []), *call.split("\n")]


def generate_command(record: RunRecord) -> str:
    """A model that is told nothing has no prompt."""
    return command("generate", record, prompt=None if record.told == "nothing" else record.sample_prompt or "")


def command(verb: str, record: RunRecord, *, prompt: str | None = None) -> str:
    """A shell line, for the folder that holds the run folder."""
    words = ["aquatint", verb, shlex.quote(record.run_dir.resolve().name)]
    if prompt is not None:
        words.append("prompt=" + (f'"{prompt}"' if not re.search(r'["\\$`!%\n]', prompt) else shlex.quote(prompt)))
    return " ".join(words)
