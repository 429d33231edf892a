"""Contact sheets: rows of pictures with a word beside each row and above each column."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN_PX, TEXT_PX = 8, 13


def sheet(
    rows: Sequence[Sequence[Image.Image]], *, row_titles: Sequence[str], column_titles: Sequence[str], cell_px: int = 128
) -> Image.Image:
    """White page; cells are squares of `cell_px`; short rows leave their end empty."""
    font = ImageFont.load_default(TEXT_PX)
    left = max((round(font.getlength(t)) for t in row_titles), default=0) + 2 * MARGIN_PX
    titles = [_wrapped(title, cell_px - 4, font=font) for title in column_titles]
    top = MARGIN_PX + (TEXT_PX + 3) * max((len(lines) for lines in titles), default=0)
    num_columns = max((len(row) for row in rows), default=0)
    page = Image.new("RGB", (left + num_columns * (cell_px + 4) + MARGIN_PX, top + len(rows) * (cell_px + 4) + MARGIN_PX), "white")
    draw = ImageDraw.Draw(page)
    for column, lines in enumerate(titles):
        draw.multiline_text((left + column * (cell_px + 4), MARGIN_PX // 2), "\n".join(lines), "black", font, spacing=2)
    for index, (row, title) in enumerate(zip(rows, row_titles, strict=True)):
        y = top + index * (cell_px + 4)
        draw.text((MARGIN_PX, y + cell_px // 2 - TEXT_PX // 2), title, "black", font)
        for column, picture in enumerate(row):
            page.paste(_fitted(picture, cell_px), (left + column * (cell_px + 4), y))
    return page


def _fitted(picture: Image.Image, cell_px: int) -> Image.Image:
    scale = cell_px / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    enlarged = picture.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (cell_px, cell_px), "white")
    cell.paste(enlarged, ((cell_px - size[0]) // 2, (cell_px - size[1]) // 2))
    return cell


def _wrapped(text: str, width_px: int, *, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width_px or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
