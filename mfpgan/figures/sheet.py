"""A contact sheet: many samples at once, each with its object, the clicks turn by turn, and the mask's errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mfpgan.figures.drawing import (
    CAPTION_PX,
    EXTRA,
    INK,
    MISSED,
    NEGATIVE,
    PAPER,
    POSITIVE,
    caption,
    dim,
    outline,
    tint,
)
from mfpgan.types import BoolMask, Click, Image

if TYPE_CHECKING:
    from PIL import Image as Pillow
    from PIL import ImageDraw

MARGIN_PX, TILE_GAP_PX, TITLE_PX = 12, 10, 24
SMALLEST_TILE_PX = 192
"""Narrower photos are enlarged by a whole factor: below this no caption fits."""
NUMBERED_PX, DOT_PX = 7.0, 3.6
"""Radius of a marker with its turn's number, and of one among several of its turn, on tiles up to 320 pixels wide."""
_SHARPER = 4  # markers are drawn so many times larger and averaged down: round at a radius of 3 pixels

Symbol = Literal["click", "anti-click", "number", "outline", "missed", "too much"]
LEGEND: tuple[tuple[Symbol, str], ...] = (
    ("outline", "object"),
    ("click", "positive click"),
    ("anti-click", "negative click"),
    ("number", "turn (dots: several in one)"),
    ("missed", "missed"),
    ("too much", "too much"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One photo of a contact sheet.

    Raises:
        ValueError: a mask is not (H, W) bool, or there are not as many turns as clicks.
    """

    image: Image
    """(H, W, 3) uint8, RGB."""
    clicks: Sequence[Click]
    """In pixels of the image, in the order in which they are drawn."""
    turns: Sequence[int]
    """Number of each click's turn, from 1."""
    target: BoolMask
    """(H, W) bool; its edge is drawn."""
    prediction: BoolMask | None
    """(H, W) bool; what it missed is yellow, what is too much orange. None: no answer yet, and no errors shown."""
    ignore: BoolMask | None
    """(H, W) bool or None; pale and grey, and no error is shown there."""
    caption: str
    """One line under the photo."""

    def __post_init__(self) -> None:
        masks = (("target", self.target), ("prediction", self.prediction), ("ignore", self.ignore))
        for name, mask in masks:
            if mask is not None and (mask.shape != self.image.shape[:2] or mask.dtype != np.bool_):
                raise ValueError(f"{name} must be {self.image.shape[:2]} bool, got {mask.shape} {mask.dtype}")
        if len(self.turns) != len(self.clicks):
            raise ValueError(f"each click needs the number of its turn, got {len(self.clicks)} and {len(self.turns)}")


def contact_sheet(tiles: Sequence[Tile], columns: int, title: str) -> Image:
    """Photos in rows, each over its caption, under a title and a legend.

    A click that is alone in its turn is a large marker with the number of the turn; those of a turn of several are
    dots. Positive clicks are green disks, negative ones red squares.

    Args:
        tiles: in reading order, all of one size; narrower ones than 192 pixels are enlarged by a whole factor.
        columns: tiles in a row.
        title: text above the legend; a long one is broken into lines.

    Returns:
        (H, W, 3) uint8, RGB. The tile of h x w pixels in row r and column c starts at (H - 12 - (rows - r) (h + 30) + 10,
        12 + c (w + 10)); 20 pixels under it hold its caption, 10 part it from the next one, 12 are left at the edges.

    Raises:
        ValueError: no tile, no column, or tiles of different sizes.
    """
    shapes = {tile.image.shape for tile in tiles}
    if len(shapes) != 1 or columns < 1:
        raise ValueError(f"a sheet needs tiles of one size and a column, got sizes {sorted(shapes)}, {columns} columns")
    cells = [
        np.concatenate([picture := _draw(tile), caption([(tile.caption, None)], picture.shape[1])]) for tile in tiles
    ]
    height, width = cells[0].shape[:2]
    inner = columns * (width + TILE_GAP_PX) - TILE_GAP_PX
    rows = -(-len(cells) // columns)
    head = _head(title, inner)
    top = MARGIN_PX + len(head) + TILE_GAP_PX
    sheet = np.full(
        (top + rows * (height + TILE_GAP_PX) - TILE_GAP_PX + MARGIN_PX, inner + 2 * MARGIN_PX, 3), PAPER, np.uint8
    )
    sheet[MARGIN_PX : MARGIN_PX + len(head), MARGIN_PX:-MARGIN_PX] = head
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        y, x = top + row * (height + TILE_GAP_PX), MARGIN_PX + column * (width + TILE_GAP_PX)
        sheet[y : y + height, x : x + width] = cell
    return sheet


def _draw(tile: Tile) -> Image:
    """The photo with errors, outline and markers, at the size of the sheet."""
    from PIL import Image as Pillow

    factor = max(1, -(-SMALLEST_TILE_PX // tile.image.shape[1]))
    image, target = _enlarge(tile.image, factor), _enlarge(tile.target, factor)
    counts = np.ones_like(target) if tile.ignore is None else ~_enlarge(tile.ignore, factor)
    if tile.prediction is None:
        image = dim(image, counts)
    else:
        prediction = _enlarge(tile.prediction, factor)
        # Only what was found keeps its colours: on an orange dish nobody sees an orange tint.
        image = dim(image, target & prediction)
        image = tint(image, target & ~prediction & counts, MISSED, 0.6)
        image = tint(image, prediction & ~target & counts, EXTRA, 0.6)
    picture = Pillow.fromarray(outline(image, target))
    scale = max(1.0, picture.width / 320)
    alone = {turn for turn, clicks in Counter(tile.turns).items() if clicks == 1}
    for click, turn in zip(tile.clicks, tile.turns, strict=True):
        y, x = click.y * factor + factor // 2, click.x * factor + factor // 2
        if turn in alone:
            _mark(picture, y, x, NUMBERED_PX * scale, click.positive, str(turn))
        else:
            _mark(picture, y, x, DOT_PX * scale, click.positive)
    return np.asarray(picture).copy()


def _enlarge(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]], factor: int) -> np.ndarray:
    return pixels.repeat(factor, 0).repeat(factor, 1)


def _mark(picture: Pillow.Image, y: int, x: int, radius: float, positive: bool, number: str = "") -> None:
    """A green disk or a red square round the middle of pixel (y, x), in place; at the edge it is cut."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    reach = int(radius * 1.6) + 2
    side = 2 * reach + 1
    patch = picture.crop((x - reach, y - reach, x + reach + 1, y + reach + 1))
    patch = patch.resize((side * _SHARPER, side * _SHARPER), Pillow.Resampling.NEAREST)
    draw, centre = ImageDraw.Draw(patch), (side * _SHARPER - 1) / 2
    rim = max(1.0, radius * 0.16)
    for size, colour in ((rim * 1.7, INK), (rim, PAPER), (0.0, POSITIVE if positive else NEGATIVE)):
        _shape(draw, centre, (radius + size) * _SHARPER, positive, colour)
    if number:
        font = ImageFont.load_default(radius * (1.5 if len(number) == 1 else 1.2) * _SHARPER)
        draw.text((centre, centre), number, fill=PAPER, font=font, anchor="mm", stroke_width=1, stroke_fill=PAPER)
    picture.paste(patch.resize((side, side), Pillow.Resampling.BOX), (x - reach, y - reach))


def _shape(
    draw: ImageDraw.ImageDraw, centre: float, radius: float, positive: bool, colour: tuple[int, int, int]
) -> None:
    """Disk or square of one area."""
    half = radius if positive else radius * np.pi**0.5 / 2
    box = (centre - half, centre - half, centre + half, centre + half)
    if positive:
        draw.ellipse(box, fill=colour)
    else:
        draw.rectangle(box, fill=colour)


def _head(title: str, width: int) -> Image:
    """(h, width, 3) uint8: the title's lines of 24 pixels, then the legend's of 20."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    lines: list[str] = []
    for word in title.split():
        if lines and large.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    entries: list[tuple[int, int, Symbol, str]] = []  # x, line, symbol, word
    x, line = 0, 0
    for symbol, word in LEGEND:
        taken = 20 + round(small.getlength(word))
        if x and x + taken > width:
            x, line = 0, line + 1
        entries.append((x, line, symbol, word))
        x += taken + 16
    start = len(lines) * TITLE_PX
    picture = Pillow.new("RGB", (width, start + (line + 1) * CAPTION_PX), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(lines):
        draw.text((0, number * TITLE_PX + TITLE_PX / 2), text, fill=INK, font=large, anchor="lm")
    for x, line, symbol, word in entries:
        y = start + line * CAPTION_PX + CAPTION_PX // 2
        _symbol(picture, y, x + 7, symbol)
        draw.text((x + 20, y), word, fill=INK, font=small, anchor="lm")
    return np.asarray(picture).copy()


def _symbol(picture: Pillow.Image, y: int, x: int, symbol: Symbol) -> None:
    """What stands before a word of the legend, round (y, x) and in place."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    if symbol in ("click", "anti-click"):
        _mark(picture, y, x, 5.0, symbol == "click")
    elif symbol == "number":
        _mark(picture, y, x, NUMBERED_PX, True, "1")
    elif symbol == "outline":
        draw.rectangle((x - 6, y - 4, x + 6, y + 4), fill=(150, 150, 150))
        draw.line((x - 6, y, x + 6, y), fill=INK, width=3)
        draw.line((x - 6, y, x + 6, y), fill=PAPER, width=1)
    else:
        draw.rectangle((x - 6, y - 5, x + 6, y + 5), fill=MISSED if symbol == "missed" else EXTRA, outline=INK)
