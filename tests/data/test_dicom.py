"""DICOM against formulas of the standard on numbers known beforehand, and against every file that comes with pydicom."""

import io
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import MPEG2MPML, ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from aquatint.data import dicom, scans
from aquatint.data.scans import UnreadableScan, decode, frames

FILES = Path(os.path.dirname(pydicom.__file__)) / "data"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
VALUES = np.arange(-1000, 3096, dtype=np.int16).reshape(64, 64)
SMALL = np.arange(48, dtype=np.uint8).reshape(6, 8)
STRIPES = ((255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255), (128, 128, 255),
           (0, 0, 0), (64, 64, 64), (192, 192, 192), (255, 255, 255))  # fmt: skip


def dicom_file(pixels: np.ndarray, bits: int = 0, *, syntax: str = ExplicitVRLittleEndian, data: bytes = b"", **facts) -> bytes:
    """A file of (rows, columns), (rows, columns, 3) or, with NumberOfFrames, more; facts by DICOM's names."""
    is_colour = pixels.shape[-1] == 3
    shape = pixels.shape[-3:-1] if is_colour else pixels.shape[-2:]
    scan = Dataset()
    scan.file_meta = FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = syntax
    scan.SOPClassUID, scan.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    scan.Rows, scan.Columns = shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation = (3, "RGB") if is_colour else (1, "MONOCHROME2")
    if is_colour:
        scan.PlanarConfiguration = 0
    scan.BitsAllocated = pixels.dtype.itemsize * 8
    scan.BitsStored = bits or scan.BitsAllocated
    scan.HighBit, scan.PixelRepresentation = scan.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in facts.items():
        setattr(scan, name, value)
    scan.PixelData = data or pixels.tobytes()
    scan["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    if not data and len(scan.PixelData) % 2:
        scan.PixelData += b"\0"
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def table(entries: list[int], *, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries) % 65536, first, bits], entries
    item["LUTDescriptor"].VR, item["LUTData"].VR = "SS" if first < 0 else "US", "US"
    return item


def shown(content: bytes, **how) -> np.ndarray:
    """One channel of a grey picture."""
    pixels = np.asarray(decode(content, ".dcm", **how).image)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].astype(int)


def bundled(name: str) -> bytes:
    return (FILES / "test_files" / name).read_bytes()


# What the standard writes, PS3.3 C.11.2.1.2 and C.11.2.1.3, for an output of 0 … 255.
WINDOWS = {
    "LINEAR": lambda x, c, w: np.select(
        [x <= c - 0.5 - (w - 1) / 2, x > c - 0.5 + (w - 1) / 2], [0, 255], ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    ),
    "LINEAR_EXACT": lambda x, c, w: np.select([x <= c - w / 2, x > c + w / 2], [0, 255], ((x - c) / w + 0.5) * 255),
    "SIGMOID": lambda x, c, w: 255 / (1 + np.exp(-4 * (x - c) / w)),
}


@pytest.mark.parametrize("function", WINDOWS)
def test_a_window_is_the_formula_of_the_standard(function: str) -> None:
    windows = {"WindowCenter": [40, 900], "WindowWidth": [400, 70], "VOILUTFunction": function}
    content = dicom_file(VALUES, RescaleSlope=2, RescaleIntercept=-24, **windows)
    truth = np.rint(WINDOWS[function](VALUES * 2.0 - 24, 40.0, 400.0))
    assert (shown(content) == truth).all()
    assert len(np.unique(truth)) > 150
    assert decode(content, ".dcm").remarks == ("names 2 windows: the first is used (centre 40, width 400)",)


def test_a_window_that_is_asked_for_is_in_hounsfield_units() -> None:
    content = bundled("CT_small.dcm")
    scan = pydicom.dcmread(io.BytesIO(content))
    stored = np.frombuffer(scan.PixelData, "<i2").reshape(128, 128)
    assert (scan.RescaleSlope, scan.RescaleIntercept) == (1, -1024)
    assert (shown(content, window=(40, 400)) == np.rint(WINDOWS["LINEAR_EXACT"](stored - 1024.0, 40, 400))).all()


def test_without_a_window_nearly_all_values_are_shown_and_padding_does_not_count() -> None:
    stored = VALUES.copy()
    stored[:8] = -2000
    low, high = np.percentile(stored[8:], [0.5, 99.5])
    content = dicom_file(stored, PixelPaddingValue=-2001, PixelPaddingRangeLimit=-1999)
    assert (shown(content) == np.rint(np.clip((stored - low) * 255 / (high - low), 0, 255))).all()
    assert f"names no window: shown from {low:.4g} (black)" in decode(content, ".dcm").remarks[0]
    assert (shown(dicom_file(SMALL)) == SMALL).all()  # 8 bits say by themselves what is white
    assert (shown(dicom_file(SMALL, 6)) == np.rint(SMALL * (255 / 63))).all()
    assert decode(dicom_file(np.full((4, 4), 900, np.uint16)), ".dcm").remarks == ("holds one value only: shown black",)


def test_monochrome1_is_inverted() -> None:
    assert (shown(dicom_file(SMALL, PhotometricInterpretation="MONOCHROME1")) == 255 - SMALL).all()
    window = {"WindowCenter": 500, "WindowWidth": 2000}
    plain, inverted = (shown(dicom_file(VALUES, PhotometricInterpretation=f"MONOCHROME{kind}", **window)) for kind in (2, 1))
    assert (plain + inverted == 255).all()


@pytest.mark.parametrize("bits", [8, 12])
def test_a_table_of_values_is_looked_up_and_ends_where_it_ends(bits: int) -> None:
    """Longer than its entries can count in 8 bits, beginning below zero, and shorter than the values."""
    entries = [round(2 ** (bits - 1) * (1 + np.sin(i / 100))) % 2**bits for i in range(3000)]
    content = dicom_file(VALUES, VOILUTSequence=[table(entries, first=-500, bits=bits)], WindowCenter=0, WindowWidth=9)
    truth = np.array(entries)[np.clip(VALUES + 500, 0, 2999)] * 255 / (2**bits - 1)
    assert (shown(content) == np.rint(truth)).all()
    modality = [table([5 * i for i in range(40)], first=4, bits=16)]
    through = dicom_file(SMALL, ModalityLUTSequence=modality, WindowCenter=100, WindowWidth=150)
    truth = WINDOWS["LINEAR"](np.clip(SMALL.astype(int) - 4, 0, 39) * 5.0, 100.0, 150.0)
    assert (shown(through) == np.rint(truth)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_colours(bits: int) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (40, 3))
    facts = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, channel in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        data = (channel * 257).astype("<u2") if bits == 16 else channel.astype(np.uint8)
        facts |= {f"{name}PaletteColorLookupTableDescriptor": [40, 3, bits], f"{name}PaletteColorLookupTableData": data.tobytes()}
    scan = decode(dicom_file(SMALL, **facts), ".dcm")
    assert (np.asarray(scan.image) == colours[np.clip(SMALL.astype(int) - 3, 0, 39)]).all()
    assert scan.mode == "DICOM 8-bit colour"


def test_colours_in_planes_and_with_16_bits() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (6, 8, 3), np.uint8)
    planes = dicom_file(rgb, PlanarConfiguration=1, data=rgb.transpose(2, 0, 1).tobytes())
    for content in (dicom_file(rgb), planes, dicom_file(rgb.astype(np.uint16) * 257)):
        assert (np.asarray(decode(content, ".dcm").image) == rgb).all()
    assert decode(dicom_file(rgb, ICCProfile=b"no profile"), ".dcm").remarks == ("has a colour profile that cannot be read: taken as sRGB",)


def test_the_same_stripes_in_every_packing() -> None:
    """One picture, stored as RGB and YBR, in planes and pixels, subsampled, with 8, 16 and 32 bits, plain, JPEG and RLE."""
    names = [f"dcmtk_+eb+c{kind}" for kind in ("r", "y+n1", "y+n2", "y+np", "y+s2", "y+s4")]
    names += ["gdcm_KY", "jpeg_dcmtk", "jpeg_lossy_gdcm", "rle", "rle_16bit", "rle_32bit"]
    for name in [*(f"SC_rgb_{name}.dcm" for name in names), "SC_ybr_full_422_uncompressed.dcm"]:
        pixels = np.asarray(decode(bundled(name), ".dcm").image)[5::10, 50].astype(int)
        assert abs(pixels - np.array(STRIPES)).max() <= 6, name


def test_packing_without_loss_changes_nothing() -> None:
    plain = shown(bundled("MR_small.dcm"))
    for kind in ("RLE", "jp2klossless", "bigendian", "expb", "implicit", "padded"):
        assert (shown(bundled(f"MR_small_{kind}.dcm")) == plain).all(), kind
    stored = pydicom.dcmread(FILES / "test_files/MR_small.dcm").pixel_array
    assert (plain == np.rint(WINDOWS["LINEAR"](stored.astype(float), 600, 1600))).all()


def test_each_frame_by_its_own_facts() -> None:
    """Enhanced files keep rescaling and windows with the frame, and what is common in one place."""
    stored = np.stack([VALUES, VALUES[::-1], VALUES[:, ::-1]])
    common, own = Dataset(), []
    measures = Dataset()
    measures.PixelSpacing = [2, 1]
    common.PixelMeasuresSequence = [measures]
    for number in range(3):
        frame, rescale, window = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = number + 1, -7 * number
        window.WindowCenter, window.WindowWidth = 100 * number, 500 + number
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [rescale], [window]
        own.append(frame)
    groups = {"SharedFunctionalGroupsSequence": [common], "PerFrameFunctionalGroupsSequence": own}
    content = dicom_file(stored, NumberOfFrames=3, **groups)
    assert list(frames(content, ".dcm").numbers) == [0, 1, 2]
    for number in range(3):
        scan = decode(content, ".dcm", frame=number)
        assert scan.image.size == (64, 128)
        truth = np.rint(WINDOWS["LINEAR"](stored[number] * (number + 1.0) - 7 * number, 100.0 * number, 500.0 + number)).astype(np.uint8)
        tall = np.asarray(Image.fromarray(truth).resize((64, 128), Image.Resampling.BICUBIC)).astype(int)
        assert abs(np.asarray(scan.image)[..., 0].astype(int) - tall).max() <= 1
    with pytest.raises(UnreadableScan, match="has no frame 3: there are 3"):
        decode(content, ".dcm", frame=3)


def test_every_file_of_pydicom_is_decoded_or_refused_with_a_reason() -> None:
    paths = [path for path in sorted(FILES.glob("test_files/**/*")) if path.is_file()]
    paths = [path for path in paths if scans.is_scan(path.name, path.read_bytes()[:132])]
    num_frames, reasons, advice = 0, {}, []
    for path in paths:
        content = path.read_bytes()
        try:
            numbers = frames(content, ".dcm").numbers
            for number in numbers:
                image = decode(content, ".dcm", frame=number).image
                assert image.mode == "RGB"
                assert image.getextrema() != ((0, 0),) * 3
            num_frames += len(numbers)
        except UnreadableScan as error:
            reasons[path.relative_to(FILES / "test_files").as_posix()] = error.reason
            advice.append(error.advice)
    assert all(advice)
    assert (len(paths) - len(reasons), num_frames, len(reasons)) == (81, 155, 86)
    kinds = ["holds no pixels (", "is packed as JPEG", "is damaged, or of a kind of JPEG"]
    kinds += ["is not a DICOM", "announces 8,192", "is cut off or"]
    assert [sum(reason.startswith(kind) for reason in reasons.values()) for kind in kinds] == [70, 6, 4, 2, 1, 3]
    assert reasons["rtstruct.dcm"] == "holds no pixels (RT Structure Set Storage)"
    assert "JPEG-LS Lossless" in reasons["MR_small_jpeg_ls_lossless.dcm"]


def refusal(content: bytes) -> str:
    with pytest.raises(UnreadableScan) as caught:
        decode(content, ".dcm")
    return f"{caught.value.reason}: {caught.value.advice}"


def test_headers_that_announce_more_than_there_is() -> None:
    assert "announces 524,288 bytes of pixels but holds 48" in refusal(dicom_file(SMALL, Rows=512, Columns=1024))
    assert "announces 48,000,000,000 bytes" in refusal(dicom_file(SMALL, NumberOfFrames=1_000_000_000))
    assert "is 65535 x 65535, more than" in refusal(dicom_file(SMALL, Rows=65535, Columns=65535))
    packed = pydicom.encaps.encapsulate([b"1234"])
    assert "announces 99 frames" in refusal(dicom_file(SMALL, syntax=RLELossless, data=packed, NumberOfFrames=99))
    assert refusal(dicom_file(SMALL, syntax=MPEG2MPML, data=packed)).endswith("which is not read: export it as PNG")
    assert "colours as HSV" in refusal(dicom_file(SMALL, PhotometricInterpretation="HSV"))


def test_what_unpacks_without_end_is_stopped(monkeypatch) -> None:
    content = bundled("image_dfl.dcm")
    assert decode(content, ".dcm").image.size == (512, 512)
    monkeypatch.setattr(dicom, "MAX_DEFLATED", 100_000)
    assert "unpacks to more than 100,000 bytes" in refusal(content)
    facts = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        endless = np.tile(np.array([1, 65535, 9], "<u2"), 20_000)
        segments = np.concatenate([np.array([0, 1, 7], "<u2"), endless]).tobytes()
        facts |= {f"{name}PaletteColorLookupTableDescriptor": [0, 0, 16], f"Segmented{name}PaletteColorLookupTableData": segments}
    assert "a table of colours in a form" in refusal(dicom_file(SMALL, **facts))
    line = bytes([0, 1, 0, 1, 255, 255])  # 0 … 255 in one straight line is read
    for name in ("Red", "Green", "Blue"):
        facts |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 8], f"Segmented{name}PaletteColorLookupTableData": line}
    assert (np.asarray(decode(dicom_file(SMALL, **facts), ".dcm").image) == SMALL[..., None]).all()


def test_files_without_a_preamble_and_files_that_are_something_else() -> None:
    content = dicom_file(SMALL)
    body = content[content.index(b"\x08\x00\x16\x00UI") :]
    assert (shown(body) == SMALL).all()
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    for other in (picture.getvalue(), b"", b"GIF89a", zlib.compress(content)):
        assert refusal(other).startswith("is not a DICOM file")


def test_a_missing_package_is_named(monkeypatch) -> None:
    content = dicom_file(SMALL)
    dicom._pydicom.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert refusal(content) == "needs pydicom: pip install 'aquatint[medical]'"
