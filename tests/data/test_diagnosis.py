"""Every fault that was planted among photographs is found, and nothing else is. Photographs are scikit-image's."""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

import aquatint
from aquatint.commands.inspect import Inspect, run
from aquatint.data.diagnosis import Finding, caption_table, diagnose, leakage
from aquatint.data.likeness import NEAR_BITS, SAMPLE, candidates, close_pairs, joined_up, marks
from aquatint.data.measures import Measures, measure

skimage_data = pytest.importorskip("skimage.data")
NAMES = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "colorwheel", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "retina", "rocket",
)  # fmt: skip
MARKED = ("camera", "chelsea", "coffee", "moon", "retina", "rocket")
BITS = np.array([bin(value).count("1") for value in range(256)])


@dataclass(frozen=True)
class Known:
    name: str
    measures: Measures | None = None
    caption: str = ""
    content_hash: str = ""


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage_data, name)()).convert("RGB")


def put(folder: Path, name: str, *, image: Image.Image, caption: str) -> None:
    image.save(folder / name)
    (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")


def marked(image: Image.Image) -> Image.Image:
    """With a text of a fixed share of the picture's longer side, in the bottom right corner."""
    stamp = Image.new("RGBA", (720, 96))
    ImageDraw.Draw(stamp).text((6, 4), "© somebody.com", fill="white", font_size=80)
    stamp = stamp.crop(stamp.getbbox())
    width = max(image.size) * 22 // 100
    stamp = stamp.resize((width, round(width * stamp.height / stamp.width)), Image.Resampling.LANCZOS)
    under = image.convert("RGBA")
    under.alpha_composite(stamp, (image.width - stamp.width - width // 16, image.height - stamp.height - width // 16))
    return under.convert("RGB")


def findings_of(folder: Path, **settings: object) -> list[str]:
    lines = [line for line in run(Inspect(data=folder, **settings)) if isinstance(line, str)]
    return [line for line in lines if line.startswith(("error: ", "warning: ", "note: "))]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in NAMES:
        put(folder, f"{name}.png", image=photo(name), caption=f"a photo of zwx, {name}")
    return folder


def test_nothing_is_said_of_clean_sets(clean: Path) -> None:
    assert findings_of(clean, trigger="zwx", resolution=256) == []
    demo = Path(aquatint.__file__).parent / "models" / "demo"
    for kind, count in (("subject", 5), ("style", 12)):
        assert len(list((demo / kind).glob("*.png"))) == count
        said = findings_of(demo / kind, trigger="zwx", resolution=64, base_multiple=4)
        assert all("left aside: README" in line for line in said), said


def test_every_planted_fault_is_found_and_nothing_else(clean: Path) -> None:
    for name in MARKED:
        put(clean, f"{name}.png", image=marked(photo(name)), caption=f"a photo of zwx, {name}")
    shutil.copy(clean / "brick.png", clean / "brick again.png")
    (clean / "brick again.txt").write_text("more of zwx")
    buffer = io.BytesIO()
    photo("astronaut").resize((280, 280)).save(buffer, "JPEG", quality=60)
    put(clean, "astronaut small.png", image=Image.open(buffer), caption="zwx in space")
    put(clean, "grass bright.png", image=ImageEnhance.Brightness(photo("grass")).enhance(1.1), caption="zwx in the sun")
    soft = Image.fromarray(skimage_data.stereo_motorcycle()[0]).filter(ImageFilter.GaussianBlur(6))
    put(clean, "soft.png", image=soft, caption="zwx in a garage")
    put(clean, "flat.png", image=Image.new("RGB", (500, 400), (90, 120, 90)), caption="zwx in fog")
    put(clean, "tiny.png", image=photo("coins").crop((25, 20, 95, 90)), caption="zwx on a shelf")
    put(clean, "wide.png", image=photo("hubble_deep_field").crop((0, 300, 1000, 560)).resize((2000, 520)), caption="a photo")
    put(clean, "talk.png", image=photo("gravel").rotate(90).crop((0, 0, 300, 300)), caption="zwx " + "very " * 70 + "long")
    for name, angle in (("one.png", 90), ("two.png", 180)):
        put(clean, name, image=photo("brick").rotate(angle).crop((90, 90, 400, 350)), caption="a photo")
    others = ", ".join(f"{name}.png" for name in MARKED[1:])
    expected = (
        "warning: tiny.png: is enlarged 3.66 times",
        "warning: wide.png: loses 38% of its area",
        "warning: brick again.png: is the same file as brick.png, with 2 different captions",
        "warning: astronaut small.png: looks like astronaut.png (",
        "warning: grass bright.png: looks like grass.png (",
        f"warning: camera.png: shows the same in its bottom right corner as 5 others: {others}",
        "warning: soft.png: is blurred: its edges are ",
        "warning: flat.png: is of one colour",
        f"note: {clean}: 3 pictures of 24 have the caption 'a photo': one.png, two.png, wide.png",
        f"note: {clean}: 3 captions of 24 without 'zwx': one.png, two.png, wide.png",
        "note: talk.png: has a caption of 72 words",
    )
    said = findings_of(clean, trigger="zwx", resolution=256)
    assert [line for line in expected if sum(found.startswith(line) for found in said) != 1] == [], "\n".join(said)
    assert [found for found in said if not found.startswith(expected)] == []


def test_captions_as_written_are_held_against_the_trigger() -> None:
    pictures = [Known(f"{index}.png", caption=f"zwx, thing {index}", content_hash=str(index)) for index in range(5)]
    assert diagnose(pictures, trigger="zwx") == []
    written = {"0.png": "a ZWX here", "1.png": "zwxes", "2.png": "thing", "3.png": None, "4.png": "the zwx"}
    found = diagnose(pictures, trigger="zwx", written=written, source="set")
    assert [(one.level, one.file, one.others) for one in found] == [("note", "set", ("1.png", "2.png"))]
    assert "2 captions of 4 without 'zwx': 1.png, 2.png" in found[0].what
    assert diagnose(pictures, trigger="zwx", written={one.name: "no word" for one in pictures}) == []  # one for all is a way to train


def test_captions_in_numbers() -> None:
    table = caption_table(["a red fox in the snow", "a red fox in the snow", "the fox", "", "Red fox, running"])
    assert (table.num_pictures, table.num_empty, table.num_different) == (5, 1, 3)
    assert table.num_words == (2, 6, 6)
    assert table.captions == (("a red fox in the snow", 2),)
    assert table.phrases == (("fox", 4), ("red fox", 3), ("snow", 2))
    assert caption_table([]).num_words == (0, 0, 0)


def test_held_out_pictures_are_not_trained_on_under_another_name() -> None:
    coffee, cat = photo("coffee"), photo("chelsea")
    training = [Known("coffee.png", measure(coffee), content_hash="a"), Known("cat.png", measure(cat), content_hash="b")]
    assert leakage(training, [Known("moon.png", measure(photo("moon")), content_hash="c")]) == []
    held_out = [
        Known("copy.png", measure(cat), content_hash="b"),
        Known("small.png", measure(coffee.resize((300, 200))), content_hash="d"),
        Known("unmeasured.png", content_hash="e"),
    ]
    found = leakage(training, held_out)
    assert [(one.level, one.file, one.others) for one in found] == [
        ("warning", "small.png", ("coffee.png",)),
        ("warning", "copy.png", ("cat.png",)),
    ]
    assert leakage([Known("x", content_hash="e")], held_out[2:])[0].file == "unmeasured.png"
    assert leakage([], held_out) == []


def test_pictures_without_measures_are_compared_by_content() -> None:
    found = diagnose([Known("a", content_hash="1"), Known("b", content_hash="2"), Known("c", content_hash="1")])
    assert found == [Finding("warning", "a", "is the same file as c", "keep one: it counts 2 times", ("c",))]
    same_file = [Known(name, measure(photo(name)), content_hash="volume") for name in ("moon", "coins")]
    assert diagnose(same_file) == []  # one file may hold many pictures


def brute_force(fingerprints: np.ndarray, max_bits: int) -> list[list[int]]:
    apart = BITS[(fingerprints[:, None] ^ fingerprints[None]).view(np.uint8).reshape(len(fingerprints), -1, 8)].sum(axis=2)
    return np.argwhere(np.triu(apart <= max_bits, 1)).tolist()


@pytest.mark.parametrize("max_bits", [0, 3, NEAR_BITS, 7])
def test_close_pairs_are_those_of_brute_force(max_bits: int) -> None:
    """Random fingerprints, and around some of them others at 0 to 12 bits, anywhere."""
    random = np.random.default_rng(max_bits)
    fingerprints = random.integers(0, 1 << 64, 400, dtype=np.uint64)
    for place in range(100, 400):
        flipped = random.choice(64, random.integers(0, 13), replace=False).astype(np.uint64)
        fingerprints[place] = fingerprints[place % 100] ^ (np.uint64(1) << flipped).sum(dtype=np.uint64)
    expected = brute_force(fingerprints, max_bits)
    assert len(expected) > 15
    assert close_pairs(fingerprints, max_bits=max_bits).tolist() == expected


def test_a_hundred_thousand_are_not_compared_pair_by_pair() -> None:
    fingerprints = np.random.default_rng(0).integers(0, 1 << 64, 100_000, dtype=np.uint64)
    assert sum(map(len, candidates(fingerprints))) < 100_000**2 / 2 / 500
    with pytest.raises(ValueError, match="8 bits"):
        close_pairs(fingerprints, max_bits=8)


def test_groups_are_the_connected_ones() -> None:
    assert joined_up([(0, 5), (7, 5), (2, 3)], num=9) == [[0, 5, 7], [2, 3]]
    assert joined_up([], num=3) == []


def corners_with(mark: np.ndarray, cells: Sequence[np.ndarray]) -> list[int]:
    return [int.from_bytes(np.packbits(one | mark).tobytes(), "big") for one in cells]


@pytest.mark.parametrize(("num", "num_marked"), [(400, 12), (2 * SAMPLE + 3, 200)])
def test_a_mark_on_few_of_many_is_found(num: int, num_marked: int) -> None:
    """Among corners of random cells some share about 60; nothing is shared by the others."""
    random = np.random.default_rng(2)
    cells = random.random((num, 48 * 24)) < 0.06
    mark = np.zeros((24, 48), bool)
    mark[3:9, 4:30] = random.random((6, 26)) < 0.4
    corners = corners_with(np.zeros(48 * 24, bool), cells[num_marked:]) + corners_with(mark.ravel(), cells[:num_marked])
    assert marks(corners) == [list(range(num - num_marked, num))]
    assert marks(corners[: num - num_marked]) == []
    line = np.zeros((24, 48), bool)
    line[5] = True
    assert marks(corners_with(line.ravel(), cells[:400])) == []  # the edge of a border
