"""DICOM: stored numbers to what the file says is to be seen."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from aquatint.data.colours import as_rgb
from aquatint.data.planes import MAX_PIXELS, Numbers, UnreadableScan, extent, grey, needed, squared

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio")
"""What tells the height and width of a pixel, best first."""
GREYS = (
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
)  # fmt: skip
GROUPS = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Where files with many frames keep the two above, for all frames or for each."""
MAX_DEFLATED = 2**29
"""Bytes that a deflated file may unpack to."""
MAX_ENTRIES = 2**16
"""Of a table of colours."""
DECODERS = {"2000": "pylibjpeg pylibjpeg-openjpeg", "RLE": "pylibjpeg pylibjpeg-rle", "": "pylibjpeg pylibjpeg-libjpeg"}
"""Part of a transfer syntax's name -> packages that pydicom decodes it with."""
WHOLE = "replace it with a whole copy"
Window = tuple[float, float]


@lru_cache(maxsize=1)
def _pydicom() -> Any:
    pydicom = needed("pydicom")
    for part in ("pydicom.pixels.utils", "pydicom.dataset", "pydicom.filereader", "pydicom.uid"):
        needed(part)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # many a scanner bends the rules; what matters is checked here
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    return pydicom


def num_frames(content: bytes) -> int:
    """Pictures in a file, by its header. Raises UnreadableScan for one without any, or that cannot hold as many as it announces."""
    scan = opened(content)
    number = int(scan.get("NumberOfFrames") or 1)
    plane = int(scan.Rows) * int(scan.Columns)
    if plane > MAX_PIXELS:
        raise UnreadableScan(f"is {scan.Columns} x {scan.Rows}, more than {MAX_PIXELS:,} pixels", "make it smaller, or remove it")
    packed = scan.file_meta.TransferSyntaxUID.is_encapsulated  # each frame then has a head of 8 bytes at least
    announced, size = number * 8 if packed else _pydicom().pixels.utils.get_expected_length(scan), len(scan[_pixels(scan)].value)
    if number < 1 or announced > size:
        what = f"{number:,} frames" if packed else f"{announced:,} bytes of pixels"
        raise UnreadableScan(f"announces {what} but holds {size:,} bytes: it is cut off or damaged", WHOLE)
    return number


def picture(content: bytes, number: int, *, window: Window | None) -> tuple[Image.Image, str, list[str]]:
    """One frame as RGB, what is stored, and remarks; `window` is centre and width. Raises UnreadableScan."""
    frames = num_frames(content)
    if not 0 <= number < frames:
        raise UnreadableScan(f"has no frame {number}: there are {frames}")
    scan = opened(content)
    facts = _facts(scan, number)
    stored = _decoded(scan, number)
    bits = int(scan.get("BitsStored") or scan.BitsAllocated)
    photometric = str(scan.PhotometricInterpretation)
    remarks: list[str] = []
    if photometric == "PALETTE COLOR":
        pixels = _painted(stored, scan)
    elif stored.ndim == 3:
        pixels = grey(stored, (0, 2**bits - 1))
    elif photometric in ("MONOCHROME1", "MONOCHROME2"):
        pixels, remarks = _grey(stored, scan, facts=facts, window=window, bits=bits)
        pixels = 255 - pixels if photometric == "MONOCHROME1" else pixels
    else:
        raise UnreadableScan(f"has colours as {photometric}, which is not read here", "export it as PNG")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.mode == "RGB" and scan.get("ICCProfile"):
        image.info["icc_profile"] = scan.ICCProfile
    image, colour = as_rgb(image)
    image, shape = squared(image, spacing=next((_pair(facts[name].value) for name in SPACINGS if name in facts), (1.0, 1.0)))
    return image, f"DICOM {bits}-bit {'grey' if photometric.startswith('MONO') else 'colour'}", [*remarks, *colour, *shape]


def opened(content: bytes) -> Any:
    """The dataset, with pixels not yet decoded and a transfer syntax. Raises UnreadableScan."""
    pydicom = _pydicom()
    if content[128:132] == b"DICM":
        content = _inflated(pydicom, content)
    scan = pydicom.dcmread(io.BytesIO(content), force=True)
    if not hasattr(scan, "file_meta"):
        scan.file_meta = pydicom.dataset.FileMetaDataset()
    if not any(name in scan for name in PIXELS):
        kind = scan.get("SOPClassUID") or scan.file_meta.get("MediaStorageSOPClassUID")
        if not kind:
            raise UnreadableScan("is not a DICOM file, or its header is damaged", WHOLE)
        kind = pydicom.uid.UID(kind).name
        raise UnreadableScan(f"holds no pixels ({kind})", WHOLE if "Image" in kind else "remove it")
    if not scan.file_meta.get("TransferSyntaxUID"):  # then it is told by how the file reads, as pydicom found it
        implicit, little = scan.original_encoding
        uid = pydicom.uid
        syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        scan.file_meta.TransferSyntaxUID = syntax
    return scan


def _inflated(pydicom: Any, content: bytes) -> bytes:
    """A deflated file as a plain one, no larger than it may be; others as they are."""
    file = io.BytesIO(content)
    pydicom.filereader.read_preamble(file, False)
    meta = pydicom.filereader.read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return content
    start, unpacker = file.tell(), zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpacker.decompress(content[start:], MAX_DEFLATED)
    if unpacker.unconsumed_tail:
        raise UnreadableScan(f"unpacks to more than {MAX_DEFLATED:,} bytes", "remove it")
    old, new = (uid.encode() for uid in (pydicom.uid.DeflatedExplicitVRLittleEndian, pydicom.uid.ExplicitVRLittleEndian))
    return content[:start].replace(old, new.ljust(len(old), b"\0"), 1) + body


def _pixels(scan: Any) -> str:
    return next(name for name in PIXELS if name in scan)


def _facts(scan: Any, number: int) -> Any:
    """What is said about one frame: by the file, for all its frames, for this one; the last word holds. Empty words are none."""
    facts = _pydicom().dataset.Dataset()
    facts.file_meta = scan.file_meta
    groups = [*scan.get("SharedFunctionalGroupsSequence", [])[:1], *scan.get("PerFrameFunctionalGroupsSequence", [])[number : number + 1]]
    for source in [scan, *(item for group in groups for name in GROUPS for item in group.get(name, [])[:1])]:
        for name in (*GREYS, *SPACINGS):
            if source.get(name) not in (None, "", []):
                facts[name] = source[name]
    return facts


def _decoded(scan: Any, number: int) -> Numbers:
    """Stored numbers, (rows, columns), or RGB, (rows, columns, 3)."""
    syntax = scan.file_meta.TransferSyntaxUID
    pixels = _pydicom().pixels
    packages = next(names for part, names in DECODERS.items() if part in syntax.name)
    advice = f"pip install {packages}; or export it as PNG"
    try:
        decoder = pixels.get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableScan(f"is packed as {syntax.name}, which is not read", "export it as PNG") from None
    if not decoder.is_available:
        raise UnreadableScan(f"is packed as {syntax.name}, for which a decoder is missing", advice)
    try:
        return np.asarray(pixels.pixel_array(scan, index=number))
    except RuntimeError as error:  # of all decoders that tried, with what each said
        why = str(error).rpartition("plugins:")[2].strip()
        raise UnreadableScan(f"is damaged, or of a kind of {syntax.name} that cannot be read here ({why})", advice) from error


def _painted(stored: Numbers, scan: Any) -> Numbers:
    """Indices to RGB by the file's own table of colours, uint8."""
    if "SegmentedRedPaletteColorLookupTableData" in scan:
        for name in ("Red", "Green", "Blue"):
            _check_segments(scan[f"Segmented{name}PaletteColorLookupTableData"].value, scan.RedPaletteColorLookupTableDescriptor[2])
    entries, first, _ = scan.RedPaletteColorLookupTableDescriptor
    inside = np.clip(stored.astype(np.int64), first, first + (entries or MAX_ENTRIES) - 1)  # beyond its end pydicom begins anew
    colours: Numbers = _pydicom().pixels.apply_color_lut(inside, scan)[..., :3]
    if colours.dtype == np.uint8 or colours.max() < 256:  # 16-bit tables hold 8 bits in either half
        return colours.astype(np.uint8)
    return grey(colours, (0, 65535))


def _check_segments(data: bytes, bits: int) -> None:
    """A few bytes can announce a table without end."""
    words = np.frombuffer(data[: len(data) // (bits // 8) * (bits // 8)], f"<u{bits // 8}")
    place = size = 0
    while place + 1 < len(words):
        kind, count = int(words[place]), int(words[place + 1])
        size += count
        if kind > 1 or size > MAX_ENTRIES:
            raise UnreadableScan("has a table of colours in a form that is not read here", "export it as PNG")
        place += 3 if kind else 2 + count


def _grey(stored: Numbers, scan: Any, *, facts: Any, window: Window | None, bits: int) -> tuple[Numbers, list[str]]:
    """Stored numbers -> the quantity they stand for -> what is shown of it, uint8; and remarks."""
    pixels = _pydicom().pixels
    values: Numbers = stored.astype(np.int64) if "ModalityLUTSequence" in facts else stored
    values = pixels.apply_modality_lut(values, facts)
    if window is not None:
        return _windowed(values, window, function="LINEAR_EXACT"), []
    if "VOILUTSequence" in facts and all(facts.VOILUTSequence[0].get(name) for name in ("LUTDescriptor", "LUTData")):
        return _looked_up(values, facts), []
    if "WindowCenter" in facts and "WindowWidth" in facts:
        windows = list(zip(_numbers(facts.WindowCenter), _numbers(facts.WindowWidth), strict=False))
        function = str(facts.get("VOILUTFunction", "LINEAR")).upper()
        narrowest = 1 if function == "LINEAR" else 1e-30
        if windows and all(map(math.isfinite, windows[0])) and windows[0][1] >= narrowest:
            several = [f"names {len(windows)} windows: the first is used (centre {windows[0][0]:g}, width {windows[0][1]:g})"]
            return _windowed(values, windows[0], function=function), several if len(windows) > 1 else []
    if values is stored and bits <= 8 and stored.dtype.kind == "u":
        return grey(values, (0, 2**bits - 1)), []
    return _stretched(values, _is_padding(stored, scan))


def _windowed(values: Numbers, window: Window, *, function: str) -> Numbers:
    """Through a window, by pydicom; told that they fill 8 bits, it returns 0 … 255."""
    view = _pydicom().dataset.Dataset()
    view.PhotometricInterpretation, view.BitsStored, view.PixelRepresentation = "MONOCHROME2", 8, 0
    view.WindowCenter, view.WindowWidth, view.VOILUTFunction = *window, function
    return grey(_pydicom().pixels.apply_windowing(values, view), (0, 255))


def _looked_up(values: Numbers, facts: Any) -> Numbers:
    """Through a table, by pydicom; the input is held within the table, and an 8-bit one is passed as 16: otherwise it wraps around."""
    item = facts.VOILUTSequence[0]
    entries, first, bits = item.LUTDescriptor
    item.LUTDescriptor = [entries, first, max(bits, 16)]
    inside = np.clip(np.rint(values), first, first + (entries or MAX_ENTRIES) - 1).astype(np.int64)
    return grey(_pydicom().pixels.apply_voi_lut(inside, facts), (0, 2**bits - 1))


def _stretched(values: Numbers, padding: Numbers) -> tuple[Numbers, list[str]]:
    ends = extent(values[~padding]) or extent(values)
    if ends is None:
        return np.zeros(values.shape, np.uint8), ["holds one value only: shown black"]
    return grey(values, ends), [f"names no window: shown from {ends[0]:.4g} (black) to {ends[1]:.4g} (white), all but its rarest values"]


def _is_padding(stored: Numbers, scan: Any) -> Numbers:
    """Where the stored numbers are none that were measured, by (0028,0120) and (0028,0121)."""
    if scan.get("PixelPaddingValue") is None:
        return np.zeros(stored.shape, bool)
    ends = sorted((int(scan.PixelPaddingValue), int(scan.get("PixelPaddingRangeLimit", scan.PixelPaddingValue))))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))


def _numbers(value: Any) -> list[float]:
    return [float(number) for number in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])]


def _pair(value: Any) -> tuple[float, float]:
    first, second = _numbers(value)
    return first, second
