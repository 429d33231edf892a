"""Models that read no text learn by fine-tuning: another kind of picture sooner than from scratch, and classes that they are asked for.

The pictures are pieces of the photographs inside scikit-image. What is measured on was cut from the other half of each.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from judging import Classifier, features, share
from patches import FILES, PHOTOGRAPHS, patches
from PIL import Image
from unconditional import BASE, LARGE, NEW, OTHERS, SMALL, Size, drawn, taught

from aquatint.evaluation.kid import kid

LEFT, RIGHT = (0.0, 0.5), (0.5, 1.0)
RATE = 4e-3


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def distances(
    size: Size, place: Path, *, base: Path, steps: int, num: int, rates: Sequence[float]
) -> dict[str, tuple[float, float, float]]:
    """KID to tissue, with its interval, of what is drawn by the base, by the base after `steps` on tissue, and from scratch after three
    times as many, by each rate."""
    data, untaught = size.folder(place / "data", ["tissue"], num=128, part=LEFT), size.untaught(place / "untaught")
    models = {"base": base, "tuned": taught(place / "tuned", data=data, base=base, steps=steps, lr=RATE / 2)}
    for rate in rates:
        models[f"scratch {rate:g}"] = taught(place / f"scratch{rate}", data=data, base=untaught, steps=3 * steps, lr=rate)
    reference = features(size.pieces("tissue", 2 * num, part=RIGHT))
    found = {name: kid(features(drawn(model, [""] * num)), reference) for name, model in models.items()}
    found["pictures"] = kid(features(size.pieces("tissue", num, part=LEFT, seed=1)), reference)
    for name, (low, distance, high) in found.items():
        print(f"{name}: KID {distance:.3f} [{low:.3f}, {high:.3f}], n = {num}")
    return found


def check(found: dict[str, tuple[float, float, float]]) -> None:
    scratch = min((interval for name, interval in found.items() if name.startswith("scratch")), key=lambda each: each[1])
    assert found["tuned"][2] < scratch[0]
    assert found["tuned"][2] < found["base"][0]


def test_tuning_is_sooner_there_than_scratch(tmp_path: Path) -> None:
    check(distances(SMALL, tmp_path, base=BASE, steps=30, num=128, rates=(RATE,)))


@pytest.mark.slow
def test_tuning_is_sooner_there_than_scratch_from_the_beginning(tmp_path: Path) -> None:
    """The base is taught too, at 32 pixels."""
    others, untaught = LARGE.folder(tmp_path / "others", OTHERS, num=128, part=(0, 1)), LARGE.untaught(tmp_path / "random")
    base = taught(tmp_path / "base", data=others, base=untaught, steps=800, lr=RATE / 2)
    check(distances(LARGE, tmp_path / "tissue", base=base, steps=100, num=200, rates=(RATE, RATE / 2)))


def recognised(place: Path, kinds: Sequence[str], *, steps: int, **settings: object) -> float:
    """The share of pictures in which a classifier sees the class that was asked for, after `steps` that taught these to the base."""
    pieces = [(piece, kind) for kind in kinds for piece in SMALL.pieces(kind, 256, part=RIGHT)]
    classifier = Classifier(*zip(*pieces, strict=True))
    fresh = [(piece, kind) for kind in kinds for piece in SMALL.pieces(kind, 128, part=LEFT, seed=1)]
    of_photographs = share(classifier([piece for piece, _ in fresh]), [kind for _, kind in fresh])[1]
    assert of_photographs >= 0.97
    data = SMALL.folder(place / "data", kinds, num=64, part=LEFT)
    model = taught(place / "run", data=data, base=BASE, steps=steps, lr=RATE, method="class_conditional", **settings)
    asked = [kind for kind in kinds for _ in range(32)]
    found = share(classifier(drawn(model, asked, num_steps=30)), asked)
    print("recognised: {1:.1%} [{0:.1%}, {2:.1%}]".format(*found), f"n = {len(asked)}; of photographs {of_photographs:.1%}")
    return found[1]


def test_the_asked_of_two_classes_is_drawn(tmp_path: Path) -> None:
    assert recognised(tmp_path, ("brick", "stars"), steps=160, **{"method.class_lr": 0.2}) > 0.9


@pytest.mark.slow
def test_the_asked_of_three_classes_is_drawn(tmp_path: Path) -> None:
    assert recognised(tmp_path, ("brick", "gravel", "stars"), steps=800) > 0.9


def test_pieces_come_from_their_part_alone() -> None:
    left = patches("moon", 20, side_px=16, part=LEFT, seed=3)
    assert [piece.tobytes() for piece in left] == [piece.tobytes() for piece in patches("moon", 20, side_px=16, part=LEFT, seed=3)]
    assert left[0].tobytes() != patches("moon", 1, side_px=16, part=LEFT, seed=4)[0].tobytes()
    assert {piece.size for piece in left} == {(16, 16)}
    with pytest.raises(ValueError, match="no room for 300"):
        patches("moon", 1, side_px=300, part=LEFT)
    half = np.asarray(Image.open(PHOTOGRAPHS / FILES["moon"]).convert("RGB"))[:, 256:]
    (piece,) = patches("moon", 1, side_px=256, part=RIGHT)
    assert any(np.array_equal(np.asarray(piece), half[top : top + 256, ::way]) for top in range(257) for way in (1, -1))
    assert set(NEW) | set(OTHERS) == set(FILES)
