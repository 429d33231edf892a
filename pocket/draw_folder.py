"""Draw the training pictures as a user would have them: `python pocket/draw_folder.py OUT_DIR [PER_PAIR]`.

A folder of PNGs and a `metadata.jsonl`; every thing is in every place `PER_PAIR` times.
"""

import json
import random
import sys
from pathlib import Path

from things import TRAINED
from world import PLACES, draw_picture


def main(out_dir: Path, per_pair: int) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    pairs = [(thing, place) for thing in TRAINED for place in PLACES]
    with (out_dir / "metadata.jsonl").open("w") as table:
        for index, (thing, place) in enumerate(pairs * per_pair):
            picture = draw_picture(random.Random(f"world/{index}"), thing=thing, place=place)
            name = f"{index:06d}.png"
            picture.image.save(out_dir / name, compress_level=1)
            table.write(json.dumps({"file_name": name, "text": picture.caption}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
