"""docs/files.md is true: its commands run, one after another, on a miniature."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from aquatint.cli import run
from aquatint.export import diffusers_lora
from aquatint.export.adapter import Adapter, Factors

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
SHELL = re.compile(r"^```sh\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in SHELL.finditer(GUIDE) for line in block["lines"].splitlines() if line.strip()]
QUICK = ["steps=2", "samples.every=0", "prior.num=0", "images.resolution=16", "samples.num_steps=1", "checkpoints.every=0", "method.rank=2"]
SHOWN = {
    "aquatint check runs/photos": ["LoRA for Stable Diffusion 1 (family=sd), in diffusers names", "rank      2", "trigger   zwx"],
    "aquatint check style.safetensors base=my-model": ["all 32 layers are in my-model", "diffusers loads all of it"],
    "aquatint convert style.safetensors": ["style_kohya.safetensors  32 layers"],
    "aquatint merge zwx.safetensors style.safetensors weights=0.8,0.5 out=both.safetensors": ["32 layers, rank 7"],
    "aquatint extract my-model-with-both my-model rank=8 out=drawn.safetensors": ["kept 100.0% of the squared difference on average"],
    "aquatint resize both.safetensors rank=4 out=both-4.safetensors": ["rank 7 became 4"],
}
"""Commands that are to show more than that they run."""


def lay(folder: Path, *, base: Path, photos: Path) -> None:
    """All that the guide starts from."""
    shutil.copytree(base, folder / "my-model")
    shutil.copytree(photos, folder / "photos")
    unet = StableDiffusionPipeline.from_pretrained(base, safety_checker=None).unet
    for seed, (name, rank) in enumerate((("zwx", 4), ("style", 3))):
        generator, layers = torch.Generator().manual_seed(seed), {}
        for layer, module in unet.named_modules():
            if isinstance(module, nn.Linear) and ".attn" in layer:
                outputs, inputs = module.weight.shape
                up, down = torch.randn(outputs, rank, generator=generator) * 0.1, torch.randn(rank, inputs, generator=generator) * 0.1
                layers[f"unet.{layer}"] = Factors(down, up)
        diffusers_lora.write_adapter(Adapter(layers, "sd1"), folder / f"{name}.safetensors", facts={})


def test_its_commands_run_in_their_order(
    tiny_sd: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) == 11
    assert {*SHOWN} <= {*COMMANDS}
    lay(tmp_path, base=tiny_sd, photos=photos)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        assert run([*words, *(QUICK if words[0] == "train" else [])]) == 0
        shown = capsys.readouterr().out
        for part in SHOWN.get(line, []):
            assert part in shown, f"{part!r} is not in\n{shown}"
    assert (tmp_path / "runs" / "photos" / "pytorch_lora_weights_kohya.safetensors").is_file()
    assert {path: path.read_bytes() for path in before} == before
    made = {name for line in COMMANDS for name in re.findall(r"out=(\S+)", line)}
    assert len(made) == 7
    assert all((tmp_path / name).exists() for name in made)
    (again,) = [line for line in COMMANDS if line == "aquatint convert style.safetensors"]
    with pytest.raises(Exception, match="there is something already"):
        run(shlex.split(again)[1:])


def test_what_it_says_of_programs_is_what_the_tables_say() -> None:
    """Row by row of the table, for adapters of attention at full size."""
    from aquatint.export import kohya
    from aquatint.export.programs import verdicts
    from aquatint.export.published_sizes import denoiser
    from aquatint.export.reading import from_tensors

    rows = [line.split("|")[1:-1] for line in GUIDE.splitlines() if line.startswith("|") and line.count("|") == 6]
    said = {row[0].strip().partition(",")[0]: [cell.strip(" ¹") for cell in row[1:]] for row in rows[2:]}
    assert list(said) == ["diffusers", "ComfyUI", "A1111", "Forge"]
    for column, name in enumerate(("sd1", "sdxl", "sd3", "flux")):
        part, width = ("unet", 320) if name in ("sd1", "sdxl") else ("transformer", {"sd3": 1536, "flux": 3072}.get(name, 0))
        layers = [layer for layer in denoiser(name) if layer.endswith((".to_q", ".to_k"))]
        adapter = Adapter({f"{part}.{n}": Factors(torch.ones(1, width), torch.ones(width, 1)) for n in layers}, name)
        files = {"diffusers' names": diffusers_lora.spelled(adapter), "kohya's names": kohya.spelled(adapter)}
        for which, named in files.items():
            version = {"ss_base_model_version": {"sd1": "sd_v1", "sdxl": "sdxl_base_v1-0"}.get(name, name)}
            read = from_tensors(named.items(), version)
            assert read.architecture == name
            for verdict in verdicts(read, named.keys()):
                assert verdict.is_loaded == (said[verdict.program][column] in (which, "both files")), (name, which, verdict)
