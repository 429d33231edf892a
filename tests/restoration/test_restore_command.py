"""`aquatint restore`: real files in, and what lies there afterwards; on miniatures that know nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel
from PIL import Image
from restoration.phantoms import Ellipse, head, k_space, picture

import aquatint
from aquatint.cli import run
from aquatint.core.operators import mirrored
from aquatint.core.request import Request
from aquatint.errors import AquatintError
from aquatint.generation.sampling import walk
from aquatint.guidance._degradations import Deblur, Degradation
from aquatint.guidance.measurement import Measurement

SIDE = 16


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A DDPM of one channel."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SIDE, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("grey") / "base"
    DDPMPipeline(unet=unet, scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False)).save_pretrained(folder)
    return folder


@pytest.fixture
def restore(grey, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=grey, samples=3):
        assert run(["restore", *arguments, f"model={model}", "steps=4", f"samples={samples}", "cpu=true"]) == 0
        return capsys.readouterr().out

    return call


def drawn(path, size=SIDE):
    Image.fromarray((picture(head(1), size).clip(0, 1) * 255).astype("uint8")).save(path)
    return np.asarray(Image.open(path), dtype=float) / 255


def test_an_ellipse_in_k_space_is_its_integral():
    """Against the sum over a fine grid."""
    ellipse = Ellipse((0.21, -0.13), (0.4, 0.25), 0.6, 0.8)
    along = (np.arange(3000) + 0.5) / 1500 - 1
    x, y = np.meshgrid(along, along)
    u = (x - 0.21) * np.cos(0.6) + (y + 0.13) * np.sin(0.6)
    v = (y + 0.13) * np.cos(0.6) - (x - 0.21) * np.sin(0.6)
    inside = 0.8 * ((u / 0.4) ** 2 + (v / 0.25) ** 2 <= 1)
    for kx, ky in ((0.0, 0.0), (0.5, 0.0), (0.0, -1.5), (2.0, 1.0), (-3.5, 2.5)):
        summed = (inside * np.exp(-2j * np.pi * (kx * x + ky * y))).sum() / 1500**2
        assert abs(ellipse.transformed(np.array(kx), np.array(ky)) - summed) < 2e-4


def test_the_picture_of_a_phantom_has_that_k_space():
    exact = k_space(head(3), 48)
    assert np.abs(np.fft.fft2(picture(head(3), 48), norm="ortho") - exact).max() < 1e-9


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (["operator=denoise", "noise=0.1"], SIDE), (["operator=inpaint", "operator.mask=mask.png"], SIDE),
        (["operator=superres", "operator.factor=2"], SIDE // 2), (["operator=deblur", "operator.std_px=0.8", "method=ddnm"], SIDE),
        (["operator=mri", "operator.acceleration=2", "method=pigdm"], SIDE),
    ],
)  # fmt: skip
def test_every_operator_writes_samples_their_mean_and_where_they_differ(restore, tmp_path, arguments, size):
    drawn(tmp_path / "in.png", size)
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (4, 4, 9, 9))
    mask.save(tmp_path / "mask.png")
    before = (tmp_path / "in.png").read_bytes()
    assert "not a medical device" in restore("in.png", *arguments)
    folder = tmp_path / "restored" / "in"
    samples = [np.asarray(Image.open(folder / f"sample-{seed}.png"), dtype=np.float32) / 255 for seed in (42, 43, 44)]
    assert samples[0].shape == (SIDE, SIDE)
    inside = np.all([(each > 0.01) & (each < 0.99) for each in samples], axis=0)  # files are cut off at black and white, arrays are not
    assert inside.mean() > 0.02
    np.testing.assert_allclose(np.load(folder / "mean.npy")[inside], np.mean(samples, 0)[inside], atol=0.003)
    np.testing.assert_allclose(np.load(folder / "uncertainty.npy")[inside], np.std(samples, 0, ddof=1)[inside], atol=0.004)
    text = Image.open(folder / "mean.png").text
    assert "not a medical device" in text["note"]
    assert json.loads(text["restored"])["operator"]["kind"] in arguments[0]
    assert (tmp_path / "in.png").read_bytes() == before
    restore("in.png", *arguments)
    assert (tmp_path / "restored" / "in-2" / "mean.png").is_file()


@pytest.mark.parametrize(("method", "most"), [("ddnm", 1e-4), ("pigdm", 1e-2), ("moment", 1e-2)])
@pytest.mark.parametrize("operator", ["inpaint", "superres", "mri"])
def test_what_was_measured_without_noise_is_kept(grey, tmp_path, operator, method, most):
    """By a model that knows nothing, before anything is cut off at black and white."""
    drawn(tmp_path / "in.png", SIDE // 2 if operator == "superres" else SIDE)
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (4, 4, 9, 9))
    mask.save(tmp_path / "mask.png")
    more = {"inpaint": {"mask": tmp_path / "mask.png"}, "superres": {"factor": 2}, "mri": {"acceleration": 2}}[operator]
    iterations = 8 if method == "moment" else None
    settings = Measurement(image=tmp_path / "in.png", operator={"kind": operator, **more}, method=method, iterations=iterations)
    given = settings.operator.given_file(settings.image)
    *_, last = walk(aquatint.load(grey, cpu=True).bundle, [Request("", 1, num_steps=20)], guidances=[settings])
    missed = given.operator.forward(last.x_0_BCHW) - given.y[:, :1]
    assert float(missed.abs().mean() / given.y.abs().mean()) < most


def test_k_space_is_read_as_it_is_measured(restore, tmp_path):
    """Half of the lines and their mirror; whatever its units."""
    full, side = k_space(head(2), SIDE), SIDE
    kept = full * np.isin(np.abs(np.fft.fftfreq(side) * side), [0, 1, 2, 3, 5, 7])
    np.save(tmp_path / "scan.npy", (1000 * np.fft.fftshift(kept)).astype("complex64"))
    restore("scan.npy", "operator=mri", "method=ddnm")
    simple = np.asarray(Image.open(tmp_path / "restored/scan/without-a-model.png"), dtype=float)
    zero_filled = np.fft.ifft2(kept, norm="ortho").real
    assert np.corrcoef(simple.ravel(), zero_filled.clip(0, None).ravel())[0, 1] > 0.95


def test_one_side_of_k_space_is_enough_where_the_other_is_its_mirror():
    full = k_space(head(2), SIDE)
    half = full * (np.fft.fftfreq(SIDE) >= 0)
    both, mask = mirrored(torch.from_numpy(half), torch.from_numpy((np.abs(half) > 0).astype("float64")))
    assert torch.allclose(both * mask, torch.from_numpy(full) * mask, atol=1e-9)


def test_latents_are_restored_through_the_decoder(restore, tmp_path, tiny_sd):
    Image.new("RGB", (SIDE, SIDE), "teal").save(tmp_path / "in.png")
    restore("in.png", "operator=denoise", model=tiny_sd)
    assert Image.open(tmp_path / "restored/in/mean.png").size == (SIDE, SIDE)
    with pytest.raises(AquatintError, match="needs a model on pixels"):
        restore("in.png", "operator=denoise", "method=pigdm", model=tiny_sd)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.png"], "there is no such file"),
        (["in.png", "operator=inpaint"], "mask"),
        (["in.png", "operator=inpaint", "operator.mask=wide.png"], "must agree"),
        (["in.png", "operator=superres"], "64 x 64 px, and this model draws squares of 16"),
        (["in.png", "operator=denoise", "operator.factor=2"], "factor"),
        (["in.png", "operator=melt"], "unknown kind 'melt'"),
        (["scan.npy", "operator=denoise"], "k-space is what operator=mri reads"),
        (["real.npy", "operator=mri"], "k-space is a complex array"),
        (["pickle.npy", "operator=mri"], "no array that can be read"),
        (["scan.npy", "operator=mri", "operator.acceleration=2"], "says nothing of k-space"),
        (["phase.npy", "operator=mri"], "the picture has a phase"),
        (["cut.npz", "operator=mri"], "no array that can be read"),
        (["in.png", "operator=denoise", "iterations=5"], "only method=moment has any"),
    ],
)
def test_mistakes_are_told(restore, tmp_path, arguments, told):
    drawn(tmp_path / "in.png")
    Image.new("L", (32, 16)).save(tmp_path / "wide.png")
    full = np.fft.fftshift(k_space(head(2), SIDE))
    np.save(tmp_path / "scan.npy", full)
    np.save(tmp_path / "real.npy", np.ones((4, 4)))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez_compressed(tmp_path / "whole.npz", full)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    phase = np.exp(1j * np.linspace(0, 6, SIDE))
    np.save(tmp_path / "phase.npy", np.fft.fftshift(np.fft.fft2(picture(head(2), SIDE) * phase, norm="ortho")))
    with pytest.raises(AquatintError, match=told):
        restore(*arguments)
    assert not (tmp_path / "restored").exists()


def test_one_sample_has_no_uncertainty(restore, tmp_path):
    drawn(tmp_path / "in.png")
    assert "there is no uncertainty" in restore("in.png", "operator=denoise", samples=1)
    names = sorted(path.name for path in (tmp_path / "restored/in").iterdir())
    assert names == ["mean.npy", "mean.png", "sample-42.png", "without-a-model.png"]


@pytest.mark.parametrize("method", ["dps", "pigdm", "ddnm", "moment"])
@pytest.mark.parametrize("is_first", [True, False])
def test_measurements_and_wishes_fold_in_any_order(grey, tmp_path, method, is_first):
    from aquatint.guidance.color import Color

    drawn(tmp_path / "in.png")
    both = [Measurement(image=tmp_path / "in.png", method=method), Color(target="white")]
    guidances = both if is_first else both[::-1]
    *_, last = walk(aquatint.load(grey, cpu=True).bundle, [Request("", 1, num_steps=3)], guidances=guidances)
    assert torch.isfinite(last.x_0_BCHW).all()


@pytest.mark.parametrize(("file", "num"), [("scan.dcm", 1), ("volume.nii", 25)])
def test_scans_are_read_as_in_training(restore, tmp_path, file, num):
    """Real ones; all slices of a volume."""
    import nibabel
    import pydicom

    sources = {
        "scan.dcm": Path(pydicom.__file__).parent / "data/test_files/MR_small.dcm",
        "volume.nii": Path(nibabel.__file__).parent / "tests/data/anatomical.nii",
    }
    (tmp_path / file).write_bytes(sources[file].read_bytes())
    with pytest.raises(AquatintError, match="this model draws squares of 16; say fit=true"):
        restore(file, "operator=mri")
    restore(file, "operator=mri", "fit=true", samples=1)
    folders = sorted((tmp_path / "restored").iterdir())
    assert len(folders) == num
    assert np.load(folders[num // 2] / "mean.npy").shape == (SIDE, SIDE)
    shown = np.asarray(Image.open(folders[num // 2] / "without-a-model.png"), dtype=float)
    assert shown.std() > 20, "something is to be seen"


def test_a_mask_fits_as_its_picture_does(restore, tmp_path):
    drawn(tmp_path / "in.png", 40)
    mask = Image.new("L", (40, 40), 0)
    mask.paste(255, (0, 0, 20, 40))
    mask.save(tmp_path / "mask.png")
    restore("in.png", "operator=inpaint", "operator.mask=mask.png", "fit=true")
    spread = np.load(tmp_path / "restored/in/uncertainty.npy")
    assert spread[:, 9:].max() < 1e-4 < spread[:, :8].min()


def test_kernels_are_pictures_of_a_point(tmp_path):
    spot = Image.new("L", (3, 3))
    spot.putpixel((1, 1), 255)
    spot.save(tmp_path / "spot.png")
    given = Deblur(kernel=tmp_path / "spot.png").given(Image.new("RGB", (8, 8), "teal"))
    assert torch.allclose(given.operator.forward(given.y), given.y, atol=1e-5)
    Image.new("L", (4, 4), 255).save(tmp_path / "even.png")
    with pytest.raises(AquatintError, match="make them odd"):
        Deblur(kernel=tmp_path / "even.png").given(Image.new("RGB", (8, 8)))
    assert sorted(Degradation.variants()) == ["deblur", "denoise", "inpaint", "mri", "superres"]
