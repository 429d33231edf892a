"""`aquatint check` and its likes: what is broken is told in a sentence, with an exit code, before anything is written."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from aquatint.cli import main, run
from aquatint.commands import check
from aquatint.config import SettingsError
from aquatint.errors import BadFile, BadRun

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
GOOD = {f"{LAYER}.lora_A.weight": torch.ones(2, 768), f"{LAYER}.lora_B.weight": torch.ones(1280, 2)}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def told(file, **more) -> str:
    return "\n".join(check.run(check.Check(file=file, **more)))


@pytest.fixture
def model(tiny_sd, tmp_path):
    shutil.copytree(tiny_sd, tmp_path / "model")
    return tmp_path / "model"


def test_an_adapter_of_a_published_model_is_described(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({**GOOD, "unet.odd": torch.ones(1)}, file, metadata={"ss_base_model_version": "sd_v1"})
    text = told(file)
    assert "LoRA for Stable Diffusion 1 (family=sd), in diffusers names" in text
    assert "1 tensors belong to no layer, first unet.odd" in text
    assert "ComfyUI   no: it does not know 3 of 3 names" in text
    assert "-> aquatint convert" in text
    run(["convert", str(file), f"out={tmp_path / 'k.safetensors'}"])
    text = told(tmp_path / "k.safetensors")
    assert text.count("loads all of it") == 4


def test_other_kinds_and_architectures_are_named(tmp_path):
    save_file({"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": torch.ones(2, 2)}, tmp_path / "loha.safetensors")
    text = told(tmp_path / "loha.safetensors")
    assert "what      LoHa for" in text
    assert "diffusers no: its loaders read LoRA, and this is LoHa" in text
    with pytest.raises(BadFile, match=r"LoHa.* has no form in kohya's names"):
        run(["convert", str(tmp_path / "loha.safetensors")])
    named = {"transformer.transformer_blocks.0.attn.img_mod.1.lora_A.weight": torch.ones(1, 8), "unet.x.lora_A.weight": torch.ones(1, 8)}
    both = {**named, **{name.replace("_A", "_B"): torch.ones(8, 1) for name in named}}
    save_file(both, tmp_path / "odd.safetensors")
    assert "an architecture that is not known here" in told(tmp_path / "odd.safetensors")


def peft_folder(folder, part, *, names):
    (folder / part).mkdir(parents=True)
    (folder / part / "adapter_config.json").write_text("{}")
    named = {f"base_model.model.{name}": torch.ones(2, 2) for name in names}
    save_file(named, folder / part / "adapter_model.safetensors", metadata={"ss_base_model_version": "ddpm"})


@pytest.mark.parametrize("is_run", [True, False])
def test_a_folder_of_adapters_is_described_part_by_part(is_run, tmp_path):
    peft_folder(tmp_path / "adapter", "unet", names=[f"mid_block.attentions.0.to_q.lora_{side}.weight" for side in "AB"])
    peft_folder(tmp_path / "adapter", "text_encoder", names=["text_model.encoder.layers.0.self_attn.q_proj.hada_w1_a"])
    (tmp_path / "config.yaml").write_text("data: photos\n")
    (tmp_path / "facts.json").write_text('{"file": "adapter"}')
    text = told(tmp_path if is_run else tmp_path / "adapter")
    assert "unet/adapter_model.safetensors" in text
    assert "LoRA for an architecture that is not known here, in peft names" in text
    assert "LoHa for an architecture that is not known here, in peft names" in text


def test_other_kinds_are_not_compared_with_a_base_and_not_called_broken(tmp_path, model):
    save_file({"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": torch.ones(2, 2)}, tmp_path / "loha.safetensors")
    text = told(tmp_path / "loha.safetensors", base=str(model))
    assert "base      not compared: that is done for LoRA and DoRA, and this is LoHa" in text


def test_updates_of_zero_are_noted_and_nothing_else_is_an_error(tmp_path):
    other = LAYER.replace("attn2.to_k", "attn2.to_v")
    zero = {f"{LAYER}.lora_A.weight": torch.ones(2, 768), f"{LAYER}.lora_B.weight": torch.zeros(1280, 2)}
    save_file(zero, tmp_path / "zero.safetensors")
    with pytest.raises(BadFile, match="every update is zero"):
        told(tmp_path / "zero.safetensors")
    moved = {f"{other}.lora_A.weight": torch.ones(2, 768), f"{other}.lora_B.weight": torch.ones(1280, 2)}
    save_file({**zero, **moved}, tmp_path / "b.safetensors")
    assert f"1 of 2 layers have an update of zero, first {LAYER}" in told(tmp_path / "b.safetensors")


def test_the_wrong_base_is_told_before_heavy_work(tmp_path, model):
    save_file(GOOD, tmp_path / "a.safetensors")
    with pytest.raises(BadFile, match=r"is \[1280, 768\] in this adapter for Stable Diffusion 1, and \[64, 32\] in the base"):
        told(tmp_path / "a.safetensors", base=str(model))
    with pytest.raises(BadFile, match=r"nowhere: no such folder or file"):
        told(tmp_path / "a.safetensors", base="nowhere")
    out = tmp_path / "merged"
    with pytest.raises(BadFile, match="it was made for another model"):
        run(["merge", str(tmp_path / "a.safetensors"), f"base={model}", f"out={out}"])
    assert not out.exists()


def test_embeddings(tmp_path):
    save_file({"zwx": torch.ones(3, 768)}, tmp_path / "word.safetensors")
    text = told(tmp_path / "word.safetensors", base="pocket")
    assert "an embedding: zwx, 3 vectors for Stable Diffusion 1" in text
    assert text.count("loads all of it") == 4
    assert "base      not compared: that is done for adapters alone" in text
    save_file({"zwx": torch.ones(3, 32)}, tmp_path / "small.safetensors")
    text = told(tmp_path / "small.safetensors")
    assert text.count("no: it loads models of the published sizes, and none reads words that are 32 wide") == 3
    save_file({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, tmp_path / "xl.safetensors")
    assert "clip_g, 2 vectors for the second text encoder of SDXL" in told(tmp_path / "xl.safetensors")
    save_file({"zwx": torch.full((3, 768), torch.nan)}, tmp_path / "nan.safetensors")
    with pytest.raises(BadFile, match="the vectors of zwx are not finite"):
        told(tmp_path / "nan.safetensors")


def test_a_whole_model_is_looked_through(model):
    text = told(model)
    assert "a whole model: StableDiffusionPipeline" in text
    assert all(f"finite    {part}:" in text for part in ("unet", "vae", "text_encoder"))


def nan(model):
    tensors = load_file(model / "unet" / WEIGHTS)
    tensors["conv_in.weight"][0] = torch.nan
    save_file(tensors, model / "unet" / WEIGHTS)


def zeros(model):
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(model / "vae" / WEIGHTS).items()}, model / "vae" / WEIGHTS)


def no_part(model):
    shutil.rmtree(model / "scheduler")


def no_weights(model):
    (model / "unet" / WEIGHTS).unlink()


def pickle_alone(model):
    (model / "unet" / WEIGHTS).rename(model / "unet" / "diffusion_pytorch_model.bin")


def cut_off(model):
    file = model / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def no_shard(model):
    index = {"weight_map": {"conv_in.weight": WEIGHTS, "conv_out.weight": "diffusion_pytorch_model-00002-of-00002.safetensors"}}
    (model / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def no_index(model):
    (model / "model_index.json").write_text("{")


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (nan, "conv_in.weight holds numbers that are not finite; the model is broken"),
        (zeros, "tensors are zero; the model is broken"),
        (no_part, "names the part scheduler, and there is no such folder"),
        (no_weights, "there are no weights in this part"),
        (pickle_alone, "this part is a pickle alone"),
        (cut_off, "no whole safetensors file"),
        (no_shard, "conv_out.weight is said to be in it by"),
        (no_index, "model_index.json cannot be read"),
    ],
)
def test_broken_models_are_told_and_fail(breaking, message, model, capsys):
    breaking(model)
    with pytest.raises(SystemExit) as left:
        main(["check", str(model)])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_in_one_file(tmp_path, miniature):
    from aquatint.export.native import BLOCKS, published_unet

    named = {}
    for key, tensor in miniature("sdxl").state_dict().items():
        module, _, leaf = key.rpartition(".")
        named[f"model.diffusion_model.{published_unet(module, BLOCKS['sdxl'])}.{leaf}"] = tensor.contiguous()
    save_file(named, tmp_path / "model.safetensors")
    assert "a whole model in one file: Stable Diffusion XL" in told(tmp_path / "model.safetensors")
    named["model.diffusion_model.out.2.bias"] = torch.full((4,), torch.inf)
    save_file(named, tmp_path / "model.safetensors")
    with pytest.raises(BadFile, match=r"out\.2\.bias holds numbers that are not finite"):
        told(tmp_path / "model.safetensors")
    save_file({"a.b.c": torch.ones(2, 2, 2), "d": torch.ones(1)}, tmp_path / "what.safetensors")
    with pytest.raises(BadFile, match="this is no model: none of its 2 tensors"):
        told(tmp_path / "what.safetensors")


def test_a_run_that_has_not_finished(tmp_path):
    (tmp_path / "config.yaml").write_text("data: photos\n")
    with pytest.raises(BadRun, match="there is no finished run in this folder"):
        told(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("resize a.safetensors out=b", "give rank=, or the share to keep="),
        ("resize a.safetensors rank=2 keep=0.5 out=b", "and not both"),
        ("merge a.safetensors out=b", "one adapter alone is merged into a base="),
        ("merge a.safetensors b.safetensors weights=1 out=c", "weights: 1 were given for 2 adapters"),
        ("merge a.safetensors b.safetensors weights=1,nan out=c", "weights"),
        ("merge a.safetensors b.safetensors rank=4 out=c", "only merging adapters into one with method=svd cuts to a rank"),
        ("merge a.safetensors b.safetensors", "out"),
        ("extract tuned out=c", "base"),
        ("convert a.safetensors to=a1111", "to"),
    ],
)
def test_settings_that_do_not_agree(line, message):
    with pytest.raises(SettingsError, match=message):
        run(line.split())


def test_nothing_is_written_over(tmp_path):
    save_file(GOOD, tmp_path / "a.safetensors")
    (tmp_path / "there.safetensors").write_text("mine")
    a, out = tmp_path / "a.safetensors", f"out={tmp_path / 'there.safetensors'}"
    lines = (["convert", a], ["merge", a, a], ["resize", a, "rank=1"], ["extract", a, a], ["merge", a, "base=pocket"])
    for line in lines:
        with pytest.raises(BadFile, match="nothing is written over"):
            run([*map(str, line), out])
    assert (tmp_path / "there.safetensors").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "there.safetensors"]
