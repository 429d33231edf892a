"""What `loss.*` makes of a base's own objective, for noise that keeps the variance and for straight lines; and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler
from safetensors.torch import load_file

from aquatint.cli import run
from aquatint.config import SettingsError
from aquatint.core.objective import Objective
from aquatint.core.process import RectifiedFlow, VariancePreserving
from aquatint.core.times import LogitNormal, Mode, OnGrid, Uniform, UniformSteps
from aquatint.core.weightings import MinSNR, SoftMinSNR, bell, debiased, even
from aquatint.errors import BadSetting
from aquatint.families import sd
from aquatint.training.objectives import apply, end_in_noise, settled
from aquatint.training.settings import Loss, Train

FLOW = Objective(RectifiedFlow(), "flow_prediction", LogitNormal(shift=3.0))
STEPS = Objective(VariancePreserving(DDPMScheduler().alphas_cumprod), "v_prediction", UniformSteps(1000))
ENDING = replace(STEPS, process=STEPS.process.ending_in_noise())


@pytest.fixture
def objective_by(tiny):
    """(loss, own objective) -> the run's."""

    def make(loss, own):
        return apply(replace(tiny("sd"), objective=own), Loss(**loss)).objective

    return make


@pytest.mark.parametrize(
    ("own", "loss", "weighting"),
    [
        (STEPS, {}, MinSNR(5.0)),
        (STEPS, {"min_snr_gamma": 3}, MinSNR(3.0)),
        (STEPS, {"min_snr_gamma": None}, even),
        (STEPS, {"weighting": "soft_min_snr", "min_snr_gamma": 4}, SoftMinSNR(4.0)),
        (STEPS, {"weighting": "debiased"}, debiased),
        (FLOW, {}, even),
        (FLOW, {"min_snr_gamma": None}, even),
        (FLOW, {"weighting": "bell"}, bell),
        (ENDING, {}, even),
        (ENDING, {"min_snr_gamma": 5}, MinSNR(5.0)),
    ],
)
def test_weightings_by_name_and_by_the_base(own, loss, weighting, objective_by):
    made = objective_by(loss, own)
    assert made.weighting == weighting
    again = objective_by(settled(Loss(**loss), made).model_dump(), own)  # what config.yaml holds makes the same run
    assert again == made


@pytest.mark.parametrize(
    ("own", "loss", "times"),
    [
        (STEPS, {}, UniformSteps(1000)),
        (STEPS, {"shift": 2}, OnGrid(Uniform(2.0), 1000)),
        (STEPS, {"times": "logit_normal", "std": 0.5}, OnGrid(LogitNormal(0.0, 0.5), 1000)),
        (FLOW, {}, LogitNormal(shift=3.0)),
        (FLOW, {"mean": 0.5}, LogitNormal(0.5, 1.0, 3.0)),
        (FLOW, {"shift": 1.15}, LogitNormal(0.0, 1.0, 1.15)),
        (FLOW, {"times": "mode", "mode_scale": 0.8}, Mode(0.8, 3.0)),
        (FLOW, {"times": "uniform", "shift": 1}, Uniform()),
    ],
)
def test_times_by_name_keep_what_is_not_named(own, loss, times, objective_by):
    assert objective_by(loss, own).time == times


@pytest.mark.parametrize(
    ("own", "loss", "why"),
    [
        (FLOW, {"min_snr_gamma": 5}, "loss.min_snr_gamma=5.0: on straight lines"),
        (FLOW, {"weighting": "debiased"}, "use loss.weighting=even or bell"),
        (FLOW, {"zero_terminal_snr": True}, "become pure noise already"),
        (replace(STEPS, prediction="epsilon"), {"zero_terminal_snr": True}, "it needs a base that predicts v"),
        (replace(ENDING, prediction="epsilon"), {"weighting": "min_snr"}, "no picture left to weight by"),
        (STEPS, {"mean": 0.5}, "loss.mean: this base's times have no such number"),
    ],
)
def test_what_means_nothing_for_a_base_is_refused(own, loss, why, objective_by):
    with pytest.raises(BadSetting, match=why):
        objective_by(loss, own)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (["loss.delta=0.2"], "the plain square has none"),
        (["loss.weighting=debiased", "loss.min_snr_gamma=3"], "loss.weighting=debiased has none"),
        (["loss.weighting=min_snr", "loss.min_snr_gamma=null"], "stands for the plain error"),
        (["loss.times=uniform", "loss.mean=1"], "loss.times=uniform has none"),
    ],
)
def test_numbers_without_effect_are_refused(how, why, photos, tiny_sd, tmp_path):
    with pytest.raises(SettingsError, match=why):
        run(["train", f"data={photos}", f"base={tiny_sd}", f"out={tmp_path / 'run'}", *how])


def test_the_names_of_diffusers_scripts():
    words = ["--snr_gamma=4", "--noise_offset=0.05", "--weighting_scheme=logit_normal", "--logit_mean=0.5", "--logit_std", "0.8"]
    loss = Train.read(["data=x", *words]).loss
    assert (loss.min_snr_gamma, loss.noise_offset, loss.times, loss.mean, loss.std) == (4.0, 0.05, "logit_normal", -0.5, 0.8)
    assert Train.read(["data=x", "--weighting_scheme", "mode", "--mode_scale=1.29"]).loss.mode_scale == 1.29
    assert Train.read(["data=x", "--weighting_scheme", "none"]).loss.times == "uniform"
    with pytest.raises(SettingsError, match="'mode' or 'cosmap'"):
        Train.read(["data=x", "--weighting_scheme", "sigma_sqrt"])
    with pytest.raises(SettingsError, match="say the same in two ways"):
        Train.read(["data=x", "--logit_mean=0.5", "loss.mean=0.5"])
    assert Loss().min_snr_gamma == "auto"


def test_a_base_whose_noise_ends_in_noise_is_read_so(tiny):
    pipeline = tiny("sd").pipeline
    how = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **how)
    process = sd._bundle(pipeline).objective.process
    assert process.ends_in_noise
    assert torch.equal(process.alphas_cumprod, pipeline.scheduler.alphas_cumprod)


def test_drawing_ends_where_training_does(tiny):
    """With the base's own scheduler where it can, else with DDIM; both begin at the last step."""
    bundle = replace(tiny("sd"), objective=STEPS)
    bundle.pipeline.scheduler = PNDMScheduler.from_config(DDPMScheduler().config)
    end_in_noise(bundle)
    scheduler = bundle.pipeline.scheduler
    assert type(scheduler) is DDIMScheduler
    torch.testing.assert_close(bundle.objective.process.alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-3, atol=1e-6)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[0] == 999


def test_a_run_with_all_of_it(tmp_path, photos):
    base = sd.tiny().pipeline
    base.scheduler = DDPMScheduler.from_config(base.scheduler.config, prediction_type="v_prediction")
    base.save_pretrained(tmp_path / "base")
    how = ["resolution=16", "method.rank=2", "steps=2", "batch_size=2", "lr=1e-2", "prior.num=0", "samples.num_steps=1", "cpu=true"]
    line = ["train", f"data={photos}", f"base={tmp_path / 'base'}", "precision=fp32", *how, "loss.zero_terminal_snr=true"]
    more = ["loss.kind=huber", "loss.noise_offset=0.05", "loss.times=logit_normal", "loss.shift=2"]
    assert run([*line, f"out={tmp_path / 'some'}"]) == run([*line, f"out={tmp_path / 'all'}", *more]) == 0
    facts = json.loads((tmp_path / "all" / "facts.json").read_text())
    assert facts["loading_lines"][-1].startswith("pipe.scheduler = DDPMScheduler.from_config(")
    assert "rescale_betas_zero_snr=True" in (tmp_path / "all" / "README.md").read_text()
    some, every = (load_file(tmp_path / name / "pytorch_lora_weights.safetensors") for name in ("some", "all"))
    assert any(not torch.equal(some[name], every[name]) for name in some)
    assert run(["generate", str(tmp_path / "all"), "prompt=a disc", "steps=2", "cpu=true"]) == 0
