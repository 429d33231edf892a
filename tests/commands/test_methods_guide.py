"""docs/methods.md is true: its tables are those of the code, and its commands run on a miniature."""

import math
import re
import shlex
from pathlib import Path

import pytest
import torch

from aquatint.cli import config_class, run
from aquatint.methods.base import Method
from aquatint.registry import commands, families, methods
from aquatint.training.settings import Train

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
SHELL = re.compile(r"^```sh\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS_MORE = ("initialiser=auto", "initialiser=dog", "method=class_conditional")
"""The miniature knows letters alone: tests/contract/test_initialiser.py has the embedded model; the last is told of below."""
QUICK = ["steps=1", "samples.every=0", "samples.num_steps=1", "validation.every=0", "checkpoints.every=0"]


def lines() -> list[list[str]]:
    """Arguments of every command."""
    joined = "".join(block["lines"] for block in SHELL.finditer(GUIDE)).replace("\\\n", " ")
    return [shlex.split(line.partition("aquatint train")[2]) for line in joined.splitlines() if "aquatint train" in line]


def rows(header: str) -> list[list[str]]:
    """Cells of the table that begins so."""
    table = GUIDE[GUIDE.index(header) :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in [table[0], *table[2:]]]


def test_its_commands_can_be_read() -> None:
    assert len(lines()) == 15
    for arguments in lines():
        config_class(commands["train"]).read(arguments)


def test_its_commands_run(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """On a miniature, one step each; those that a base without words cannot answer are read only."""
    told = [arguments for arguments in lines() if not any(mark in part for part in arguments for mark in NEEDS_MORE)]
    assert len(told) == 12
    for index, arguments in enumerate(told):
        mine = [part for part in arguments if not re.match(r"photos$|prior\.num=|--(num_class|max_train|output_dir|instance_data)", part)]
        how = [*QUICK, "prior.num=2"] if "prompt" in "".join(mine) else QUICK
        place = [f"data={photos}", f"base={tiny_sd}", "images.resolution=16", f"out={tmp_path / str(index)}"]
        assert run(["train", *mine, *how, *place]) == 0, arguments
        assert (tmp_path / str(index) / "README.md").is_file()


def test_its_classes_are_learned_from_folders(photos: Path, tmp_path: Path) -> None:
    (arguments,) = [arguments for arguments in lines() if "method=class_conditional" in arguments]
    families["ddpm"].tiny().pipeline.save_pretrained(tmp_path / "base")
    for index, picture in enumerate(sorted(photos.glob("*.[pj][np]g"))):
        place = tmp_path / "textures" / ("brick", "grass")[index % 2] / picture.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture.read_bytes())
    mine = [part for part in arguments if part != "textures" and not part.startswith("base=")]
    out = tmp_path / "run"
    assert run(["train", f"data={tmp_path / 'textures'}", f"base={tmp_path / 'base'}", *mine, *QUICK, f"out={out}"]) == 0
    assert run(["generate", str(out), "prompt=brick", "steps=1", "cpu=true"]) == 0
    assert [*(out / "pictures").glob("*.png")]


def test_its_table_of_bases_is_the_code() -> None:
    header, *told = rows("| | `sd`")
    assert {*header[1:]} == {*families.names()}
    assert {row[0] for row in told} == {*methods.names()}
    for name, *cells in told:
        for family, cell in zip(header[1:], cells, strict=True):
            part = families[family]
            reason = Method.resolve(name).misfit(next(iter(part.PIPELINES.values())), part)
            assert cell == ("no" if reason else "yes"), (name, family, reason)


def test_its_presets_are_the_code() -> None:
    _, *told = rows("| `method=` | stands for")
    presets = {name: Train.read(["photos", *meant.split()]) for name, meant in told}
    assert {*presets} == {*Train.presets["method"]}
    for name, meant in presets.items():
        assert Train.read(["photos", f"method={name}"]) == meant


def test_its_file_sizes_are_those_of_stable_diffusion(sd15_shapes: dict[str, dict[str, tuple[int, ...]]]) -> None:
    def size(**settings: object) -> float:
        return Method.resolve(settings).num_written(sd15_shapes, families["sd"]) * 4 / 1e6

    table = {row[1]: row[3] for row in rows("| you want")[1:]}
    word = 3 * 768 * 4 / 1e6
    assert f"{size(kind='lora'):.0f} MB" == table["lora"] == "13 MB"
    assert f"{size(kind='pivotal') - word:.0f} MB and {word * 1000:.0f} kB" == table["pivotal"]
    assert f"{size(kind='textual_inversion') * 1000:.0f} kB" == table["textual_inversion"]
    assert f"{size(kind='full') / 1000:.1f} GB" == table["full"]
    assert f"a rank of 4 makes {size(kind='lora', rank=4):.1f} MB" in GUIDE
    assert f"for {math.floor(size(kind='lora', convolutions=True))} MB at rank 16" in GUIDE


@pytest.fixture(scope="module")
def sd15_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Of Stable Diffusion 1.5, by the configurations in its repository; no weight is made."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    widths = (128, 256, 512, 512)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2}
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768), "text_encoder": CLIPTextModel(text),
            "vae": AutoencoderKL(block_out_channels=widths, **blocks),
        }  # fmt: skip
    return {name: {key: tuple(tensor.shape) for key, tensor in part.state_dict().items()} for name, part in parts.items()}
