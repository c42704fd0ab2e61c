"""Masks as other programs read them: PNG, COCO's run lengths and polygons, and a picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Click, Image

# Okabe and Ito's palette, told apart by people with any common colour vision; without its green, which is a click's.
OBJECT_COLOURS = ((86, 180, 233), (230, 159, 0), (204, 121, 167), (240, 228, 66), (0, 114, 178), (213, 94, 0))
"""RGB of object 1, 2, ...; from the seventh on again from the start."""
_BAND_ROWS = 256
"""Rows that are coloured at once: a photo of 24 megapixels needs no second one of floating-point numbers."""


def png_of_mask(mask: BoolMask) -> bytes:
    """An 8-bit grey PNG: 255 on the object, 0 elsewhere.

    Args:
        mask: (H, W) bool.
    """
    return png_of(mask.astype(np.uint8) * np.uint8(255))


def png_of_labels(labels: NDArray[np.integer[Any]]) -> bytes:
    """A grey PNG of a label map: the number of the object at each pixel, 0 for none.

    Args:
        labels: (H, W) integers from 0 to 65535; the PNG has 8 bits, or 16 if one is above 255.

    Raises:
        ValueError: a number that 16 bits do not hold.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > 65535:
        raise ValueError(f"a label map holds numbers from 0 to 65535, got {low} to {high}")
    return png_of(labels.astype(np.uint8) if high <= 255 else labels.astype(np.uint16))


def png_of(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A PNG of (H, W) uint8 or uint16 grey, or (H, W, 3) uint8 RGB."""
    from PIL import Image as PillowImage

    file = BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def coco_rle(mask: BoolMask) -> dict[str, Any]:
    """COCO's compressed run lengths, exact: {"size": [height, width], "counts": text}; pycocotools decodes them.

    Args:
        mask: (H, W) bool; may be empty.
    """
    from pycocotools import mask as coco_mask

    coded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode("ascii")}


def polygons(mask: BoolMask) -> list[list[float]]:
    """COCO's polygons: the outlines of the parts, along the edges of the pixels.

    A pixel at (y, x) is the square from (x, y) to (x + 1, y + 1), as COCO has it, so that a single pixel is a square of four
    corners. Pixels that touch at a corner only are two parts. Drawn by pycocotools the polygons give the mask back to the bit,
    with one exception: COCO's polygons know no holes, so holes are filled (see `holes`). Run lengths keep them.

    Args:
        mask: (H, W) bool.

    Returns:
        A polygon a part, [x1, y1, x2, y2, ...] in whole pixels, clockwise as seen on a screen, each corner once, no corner on a
        straight line; in reading order of their top left corners. An empty mask has none.
    """
    return polygons_and_holes(mask)[0]


def polygons_and_holes(mask: BoolMask) -> tuple[list[list[float]], int]:
    """Both of `polygons` and `holes`, whose outlines are followed once."""
    areas = [(outline, _twice_the_area(outline)) for outline in _outlines(mask)]
    return [list(outline.ravel().tolist()) for outline, area in areas if area > 0], sum(area < 0 for _, area in areas)


def coco_annotation(mask: BoolMask, segmentation: Any) -> dict[str, Any]:
    """What COCO notes of an object beside its ids.

    Args:
        mask: (H, W) bool; of an empty one the box is [0, 0, 0, 0].
        segmentation: of `coco_rle` or `polygons`.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [0, 0, 0, 0]
    if len(rows):
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {"segmentation": segmentation, "area": int(np.count_nonzero(mask)), "bbox": box, "iscrowd": 0}


def holes(mask: BoolMask) -> int:
    """How many holes `polygons` fills: parts of the background that the mask encloses. Such that touch the outside, or each
    other, at a corner are not separate from it."""
    return polygons_and_holes(mask)[1]


def overlay(
    image: Image, labels: NDArray[np.integer[Any]] | BoolMask, clicks: Sequence[Click] = (), opacity: float = 0.5
) -> Image:
    """The photo with the objects coloured, and the clicks as dots with their signs.

    Args:
        image: (H, W, 3) uint8, RGB; stays as it is.
        labels: (H, W), 0 for none and k for object k, which gets colour k of `OBJECT_COLOURS`; or a mask.
        clicks: in pixels of the image.
        opacity: of the colour, 0 to 1.

    Returns:
        (H, W, 3) uint8: photo x (1 - opacity) + colour x opacity on the objects, rounded; the photo elsewhere.

    Raises:
        ValueError: labels of another size, or another opacity.
    """
    if labels.shape != image.shape[:2]:
        raise ValueError(f"labels must be {image.shape[:2]} as the image, got {labels.shape}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1, got {opacity}")
    drawn = image.copy()
    colours = np.array(OBJECT_COLOURS, np.float32) * opacity
    for top in range(0, len(drawn), _BAND_ROWS):
        pixels, numbers = drawn[top : top + _BAND_ROWS], labels[top : top + _BAND_ROWS].astype(np.int64)
        inside = numbers > 0
        mixed = pixels[inside] * np.float32(1 - opacity) + colours[(numbers[inside] - 1) % len(colours)]
        pixels[inside] = np.rint(mixed).astype(np.uint8)
    if clicks:
        from mfpgan.figures.drawing import draw_click

        for click in clicks:
            draw_click(drawn, click)
    return drawn


def _outlines(mask: BoolMask) -> list[NDArray[np.int64]]:
    """The closed lines between mask and background, each (corners, 2) of x and y, the mask on the right of the way.

    Where a line turns is seen in the four pixels round a point of the grid: one or three of them are in the mask, or two across.
    Along each row of such corners every other stretch is an edge, from the first to the second, the third to the fourth, and
    so on; along each column too. A line takes them in turn.
    """
    padded = np.pad(mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    across = (a == d) & (b == c) & (a != b)
    ys, xs = np.nonzero((a ^ b ^ c ^ d) | across)
    if not len(ys):
        return []
    # A point with two pixels across is two corners, the upper pixel's and the lower one's: the line stays with its pixel.
    point = np.repeat(np.arange(len(ys)), 1 + across[ys, xs])
    ys, xs = ys[point], xs[point]
    upper = np.r_[True, point[1:] != point[:-1]]
    # Of the two, one has the edges to the left: the upper one if its pixel is a.
    left = across[ys, xs] & (upper == a[ys, xs])
    by_row = np.lexsort((~left, xs, ys))
    by_column = np.lexsort((~upper, ys, xs))
    across_to, down_to = np.empty_like(point), np.empty_like(point)
    for order, other_end in ((by_row, across_to), (by_column, down_to)):
        other_end[order[::2]], other_end[order[1::2]] = order[1::2], order[::2]
    partners, downs = across_to.tolist(), down_to.tolist()
    # The mask lies on the right of the way: eastwards it is below the edge.
    east = xs[across_to] > xs
    below = np.where(east, d[ys, xs], c[ys, xs])
    leaves_across = (east == below).tolist()
    outlines, done = [], [False] * len(partners)
    for start in range(len(partners)):
        if done[start]:
            continue
        corners, at = [], start
        while not done[at]:
            done[at] = True
            corners.append(at)
            at = partners[at] if leaves_across[at] else downs[at]
        outlines.append(np.stack([xs[corners], ys[corners]], 1).astype(np.int64))
    return outlines


def _twice_the_area(outline: NDArray[np.int64]) -> int:
    """Above 0 if the outline goes clockwise on a screen, round a part; below 0 round a hole."""
    (x, y), (next_x, next_y) = outline.T, np.roll(outline, -1, axis=0).T
    return int((x * next_y - next_x * y).sum())
