"""A contact sheet of exactly what the model sees, drawn from the very tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aquatint.data.transforms import to_image

MARGIN_PX = 8
LINE_PX = 16
MAX_LINES = 4
PAPER, INK = (250, 250, 247), (30, 30, 30)


def contact_sheet(pictures: Iterable[Tensor], captions: Sequence[str], *, cell_px: int = 256, columns: int = 8) -> Image.Image:
    """Pictures (3, H, W) in [-1, 1] in rows, captions below. Those larger than `cell_px` are shown smaller, never larger."""
    font = ImageFont.load_default(size=12)
    shown = [_shown(pixels, cell_px) for pixels in pictures]
    columns = max(1, min(columns, len(shown)))
    width_px = max([96, *(image.width for image in shown)])
    lines = [wrapped(caption, font, width_px=width_px) for caption in captions]
    rows = [range(start, min(start + columns, len(shown))) for start in range(0, len(shown), columns)]
    heights = [max(shown[i].height + LINE_PX * len(lines[i]) for i in row) + 2 * MARGIN_PX for row in rows]
    sheet = Image.new("RGB", (MARGIN_PX + columns * (width_px + MARGIN_PX), MARGIN_PX + sum(heights)), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN_PX
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = MARGIN_PX + column * (width_px + MARGIN_PX)
            sheet.paste(shown[i], (left, top))
            for number, line in enumerate(lines[i]):
                draw.text((left, top + shown[i].height + 2 + number * LINE_PX), line, fill=INK, font=font)
        top += height
    return sheet


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, width_px: int) -> list[str]:
    """Lines of at most `width_px`; what does not fit in four ends in an ellipsis."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width_px:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1] + " …"]
    return [_clipped(line, font, width_px=width_px) for line in lines]


def _clipped(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, width_px: int) -> str:
    if font.getlength(line) <= width_px:
        return line
    while line and font.getlength(line + "…") > width_px:
        line = line[:-1]
    return line + "…"


def _shown(pixels: Tensor, cell_px: int) -> Image.Image:
    image = to_image(pixels)
    if max(image.size) > cell_px:
        image.thumbnail((cell_px, cell_px), Image.Resampling.BOX)
    return image
