"""Run folders as training leaves them, small."""

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PROMPTS = ("a photo of sks cup", 'a "cup" & a <script>alert(1)</script>')
CONFIG = "base: small-base\nmethod:\n  kind: lora\n  rank: 16\nbatch_size: 8\nnote: <u>&\n"
FACTS = {
    "base": "small-base", "family": "sd", "method": "lora", "num_pictures": 12, "trigger": "sks <b>cup</b>", "num_trainable": 797184,
    "file": "pytorch_lora_weights.safetensors", "file_bytes": 3213456, "seconds": 372.4, "versions": {"torch": "2.13.0"},
    "proof": {"largest_difference": 1.23e-7, "changed_by": 0.314, "num_keys": 128},
    "loading_lines": ['pipe = StableDiffusionPipeline.from_pretrained("small-base")', 'pipe.load_lora_weights("run/lora.safetensors")'],
    "sample_prompt": "a photo of sks cup", "licence": "apache-2.0",
    "measures": {"likeness": {"before": [0.412, 0.431, 0.452], "after": [0.69, 0.702, 0.716]}, "speed": {"after": 7}},
}  # fmt: skip


def stepped(step: int, loss: float | None) -> dict[str, object]:
    return {"event": "Stepped", "time": 1.0, "step": step, "loss": loss, "learning_rate": 2e-3, "gradient_norm": 1.0, "seconds": 0.5}


EVENTS = [
    {"event": "Noted", "step": 0, "text": "steps=40: seen often", "is_warning": False},
    {"event": "Noted", "step": 0, "text": "07.jpg will look <i>soft</i>", "is_warning": True},
    {"event": "Started", "step": 0, "num_steps": 40, "num_trainable": 797184},
    *(stepped(step, 0.1 + 0.1 / step) for step in range(1, 33)),
    {"event": "Skipped", "step": 33, "loss": None, "gradient_norm": None},
    *(stepped(step, 0.1) for step in range(34, 41)),
    {"event": "Validated", "step": 20, "loss": 0.1234},
    {"event": "Validated", "step": 40, "loss": 0.1111},
    {"event": "Finished", "step": 40, "seconds": 372.4, "measures": {}},
]


class RunWriter:
    """Writes the parts of a run folder; `path` is finished and complete at first."""

    prompts, facts, events = PROMPTS, FACTS, EVENTS
    stepped = staticmethod(stepped)

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()
        (path / "config.yaml").write_text(CONFIG, encoding="utf-8")
        (path / "pytorch_lora_weights.safetensors").write_bytes(b"weights")
        self.write_log(EVENTS)
        self.write_facts({})
        self.write_samples()
        Image.new("RGB", (2400, 200), "red").save(path / "before_after.png")

    def write_facts(self, changes: dict[str, object]) -> None:
        (self.path / "facts.json").write_text(json.dumps({**FACTS, **changes}), encoding="utf-8")

    def write_log(self, events: list[dict[str, object]]) -> None:
        """The last line is cut off, as a killed run leaves it."""
        lines = [json.dumps(event) for event in events]
        (self.path / "log.jsonl").write_text("\n".join([*lines, '{"event": "Stepp']), encoding="utf-8")

    def write_samples(self, *, size: tuple[int, int] = (48, 48)) -> None:
        for step in (0, 20, 40):
            folder = self.path / "samples" / f"step_{step:07d}"
            folder.mkdir(parents=True, exist_ok=True)
            for index, prompt in enumerate(PROMPTS):
                info = PngInfo()
                info.add_itxt("prompt", prompt)
                info.add_itxt("seed", str(42 + index))
                Image.new("RGB", size, (step * 5, 100, 200)).save(folder / f"{index:02d}.png", pnginfo=info)


@pytest.fixture
def written(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path / "my cup")


@pytest.fixture
def run_dir(written: RunWriter) -> Path:
    """A finished run."""
    return written.path
