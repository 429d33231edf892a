"""What a run will write is known before anything is loaded, and a disk without that room is refused."""

import json
import re
import shutil

import pytest
from cases import MATRIX, METHODS, family_of, misfit, resolved
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.families import _sources
from aquatint.methods.base import Method
from aquatint.registry import families
from aquatint.training import checkpoint
from aquatint.training.folder import RunFolder
from aquatint.training.room import Room, held, room
from aquatint.training.settings import Train

VARIANTS = {
    "lora": [
        {}, {"rank": 3, "convolutions": True}, {"text_encoder": True}, {"targets": ("to_q",)}, {"init": "pissa", "rank": 4},
        {"variant": "lokr"},
    ],
    "full": [{}, {"text_encoder": True}],
    "class_conditional": [{}, {"classes": ("x",), "denoiser": False}],
    "pivotal": [{}, {"vectors": 5, "text_encoder": True}],
    "textual_inversion": [{}, {"vectors": 3}],
}
CASES = [
    (case, resolved(kind, **settings), ema)
    for case, kind in MATRIX
    for settings in VARIANTS.get(kind, [{}])
    for ema in ([None] if settings else [0.9, None])  # the average is of what is trained, whatever that is
    if not misfit(case, resolved(kind, **settings))
]
HUGE = 2**44
"""Numbers: 65536 GiB in float32, more than a disk holds."""


def numel(tensors):
    return sum(tensor.numel() for tensor in tensors.values() if tensor.ndim)


def test_every_method_is_asked():
    assert set(VARIANTS) <= set(METHODS)
    assert len(CASES) >= 2 * len(MATRIX)


@pytest.mark.parametrize(("case", "method", "ema"), CASES, ids=str)
def test_what_is_foretold_is_what_is_written(case, method, ema, tiny, make_trainer, base_folder, tmp_path):
    bundle = tiny(case)
    average = {"ema": ema} if ema else {}
    assert held(RunFolder(tmp_path)) == 0
    list(make_trainer(bundle, bundle.family, method=method, folder=tmp_path / "checkpoints", num_steps=1, **average).run())
    state = checkpoint.load(checkpoint.newest(tmp_path / "checkpoints"))
    saved = method.save(bundle, tmp_path, facts={})
    files = [file for file in method.files(saved) if file.suffix == ".safetensors"]
    told = room(Train(data=tmp_path, base=str(base_folder(case)), method=method, ema=ema), family_of(case))
    assert told.checkpoint == 4 * (numel(state.trained) + numel(state.optimizer) + numel(state.average)) > 0
    assert told.result == 4 * sum(numel(load_file(file)) for file in files) > 0
    assert told.checkpoint <= held(RunFolder(tmp_path))  # and the headers


@pytest.mark.parametrize(
    ("num_saved", "num_kept", "peak"),
    [(9, 2, 30), (9, 1, 20), (1, 2, 17), (2, 2, 27), (2, 5, 27), (3, 2, 30)],
)
def test_the_fullest_moment(num_saved, num_kept, peak):
    assert Room(checkpoint=10, result=7, num_saved=num_saved, num_kept=num_kept).peak == peak


def test_the_result_may_be_larger_than_a_checkpoint():
    assert Room(checkpoint=1, result=7, num_saved=9, num_kept=2).peak == 9


@pytest.fixture
def huge(tiny_sd, tmp_path):
    """A base whose header tells of a weight that no disk holds."""
    base = shutil.copytree(tiny_sd, tmp_path / "huge")
    described = {"conv_in.weight": {"dtype": "F16", "shape": [HUGE, 1], "data_offsets": [0, 2 * HUGE]}}
    header = json.dumps(described).encode()
    (base / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return base


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ([], r"589824\."),
        (["checkpoints.keep=1"], r"393216\."),
        (["checkpoints.every=0"], r"262144\."),
        (["optimizer.name=sgd"], r"196608\."),
        (["optimizer.name=sgd", "ema=0.9"], r"393216\."),
    ],
)
def test_a_run_that_the_disk_cannot_hold_is_refused(huge, photos, tmp_path, settings, needed):
    with pytest.raises(SettingsError) as refused:
        run(["train", f"data={photos}", f"base={huge}", "method=full", f"out={tmp_path / 'run'}", *settings])
    said = str(refused.value)
    there, free = re.search(rf"{needed}2 GiB are needed at (.*) and (.*) GiB are free", said).groups()
    assert there == str(tmp_path)
    assert float(free) == pytest.approx(shutil.disk_usage(tmp_path).free / 2**30, abs=1)
    assert "its result 6.55e+04 GiB" in said
    assert "choose another out=, or keep fewer (checkpoints.keep=" in said
    assert not (tmp_path / "run").exists()


def test_an_adapter_of_the_same_base_fits(huge, photos, tmp_path):
    config = Train(data=photos, base=str(huge), out=tmp_path / "run")
    assert room(config, families["sd"]).peak < 2**20


def test_a_base_that_is_not_here_yet_asks_for_nothing():
    assert _sources.shapes("nobody/nothing", {}) == {}
    assert room(Train(data=".", base="nobody/nothing", method="full"), families["sd"]).peak == 0


def test_variants_beside_the_weights_are_not_counted(tiny_sd, tmp_path):
    base = shutil.copytree(tiny_sd, tmp_path / "base")
    before = _sources.shapes(str(base), {})
    assert sorted(before) == ["text_encoder", "unet", "vae"]
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    (base / "safety_checker").mkdir()
    shutil.copy(weights, base / "safety_checker" / "model.safetensors")
    assert _sources.shapes(str(base), {}) == before


def test_a_single_file_is_counted_by_its_prefixes(tmp_path):
    names = {"model.diffusion_model.a.to_q.weight": [6, 4], "first_stage_model.b": [5], "cond_stage_model.c": [3], "model_ema.d": [9]}
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in names.items()}).encode()
    file = tmp_path / "one.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    parts, family = _sources.shapes(str(file), families["sd"].FILE_PARTS), families["sd"]
    full, lora = Method.resolve("full"), Method.resolve({"kind": "lora", "rank": 2})
    assert (full.num_trained(parts, family), full.num_written(parts, family)) == (24, 32)
    assert lora.num_trained(parts, family) == lora.num_written(parts, family) == 2 * (6 + 4)
