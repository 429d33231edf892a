"""Draw the picture sets of the demo: `python pocket/draw_demo.py OUT_DIR [SUBJECT]`.

`OUT_DIR/subject`: five pictures of a thing that the model has never seen, at odd sizes, captioned with a made-up word.
`OUT_DIR/style`: twelve pictures of things it knows, printed in one ink on paper.
"""

import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from world import CANVAS_PX, draw_canvas, plain_caption

WORD = "zwx"
SUBJECT_PLACES = ("on a green background", "in a meadow", "in the snow", "on a wooden table", "on a yellow background")
SUBJECT_SIZES = ((128, 128), (125, 118), (97, 97), (128, 116), (111, 124))
STYLE_PAIRS = (
    ("fox", "on a beach"), ("red car", "in the desert"), ("tulip", "on a white background"), ("owl", "in the night sky"),
    ("sailboat", "in front of a brick wall"), ("cupcake", "on a pink background"), ("robot", "on the moon"), ("elephant", "in a meadow"),
    ("guitar", "on a wooden table"), ("pine tree", "in the snow"), ("crown", "on a purple background"), ("lemon", "on a blue background"),
)  # fmt: skip
INK, PAPER = (38, 30, 78), (246, 235, 208)


def subject(thing: str, out_dir: Path) -> None:
    """Five captioned pictures of one thing."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for index, (place, size) in enumerate(zip(SUBJECT_PLACES, SUBJECT_SIZES, strict=True)):
        canvas = draw_canvas(random.Random(f"demo/{thing}/{index}"), thing=thing, place=place, count=1)
        left, top = ((CANVAS_PX - side) // 2 for side in size)
        canvas.crop((left, top, left + size[0], top + size[1])).save(out_dir / f"{index + 1}.png")
        (out_dir / f"{index + 1}.txt").write_text(f"a {WORD} {place}\n")


def style(out_dir: Path) -> None:
    """Twelve captioned prints."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for index, (thing, place) in enumerate(STYLE_PAIRS):
        canvas = draw_canvas(random.Random(f"style/{index}"), thing=thing, place=place, count=1)
        printed(canvas).save(out_dir / f"{index + 1:02}.png")
        (out_dir / f"{index + 1:02}.txt").write_text(f"{plain_caption(thing, place)}, in the style of {WORD}\n")


def printed(image: Image.Image) -> Image.Image:
    """An etching in one ink: brightness in five tones between ink and paper."""
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255
    tone = np.round(np.clip((grey - 0.5) * 1.25 + 0.5, 0, 1) * 4) / 4
    return Image.fromarray((np.array(INK) + tone[..., None] * (np.array(PAPER) - np.array(INK))).astype("uint8"))


if __name__ == "__main__":
    subject(sys.argv[2] if len(sys.argv) > 2 else "peacock", Path(sys.argv[1]) / "subject")
    style(Path(sys.argv[1]) / "style")
