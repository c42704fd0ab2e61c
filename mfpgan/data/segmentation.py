"""COCO segmentations (polygons, RLE): checked, then drawn.

pycocotools returns uninitialised memory for run lengths that fall short, and an empty mask for polygons with NaN, both
without a word. So nothing reaches it unchecked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mfpgan.types import BoolMask, quoted

Segmentation = list[Any] | dict[str, Any] | NDArray[np.int64]
"""What can be drawn: polygons (each a list or an array of x, y, x, y, ... in pixels), an RLE object of COCO, or its run lengths
(background first, column by column), which fill the image."""
SMALL_PX = 256
"""Polygons with smaller bounding boxes are drawn to see whether they hit a pixel."""
LONGEST_OUTLINE_PX = 1_000_000
"""Polygons of a longer way round are refused: drawing takes 8 bytes for each fifth of a pixel of it, and the way is as long as the
picture's side as often as somebody likes. Real ones are thousands of pixels long."""
_CHARACTER_OF_ZERO = 48
_MOST_CHARACTERS = 7


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """Why `segmentation` cannot be drawn into a (height, width) image, or None if it can.

    Only arithmetic; a mask is drawn, as run lengths, only where a polygon is so small or thin that it may hit no pixel.
    What passes draws at least one pixel, except a polygon made for mischief (say, traced twice, which cancels out).
    """
    if isinstance(segmentation, list):
        return _polygons_problem(segmentation, height, width)
    if isinstance(segmentation, dict):
        counts = runs_of(segmentation, height, width)
        return counts if isinstance(counts, str) else None
    return f"a segmentation is a list of polygons or an RLE object, got {type(segmentation).__name__}"


def draw(segmentation: Segmentation, height: int, width: int) -> BoolMask:
    """(height, width) bool of a segmentation in which `segmentation_problem` found nothing; parts are united."""
    return draw_together([segmentation], height, width)


def draw_together(segmentations: Sequence[Segmentation], height: int, width: int) -> BoolMask:
    """(height, width) bool, True where any of the segmentations is; all False if there is none.

    The polygons of all of them are united as run lengths and become pixels once, which is several times as fast as one
    mask each.
    """
    polygons = [np.asarray(part, np.float64) for item in segmentations if isinstance(item, list) for part in item]
    united = np.zeros((height, width), np.bool_)
    if polygons:
        parts = coco_mask.frPyObjects(polygons, height, width)
        merged = coco_mask.merge(parts) if len(parts) > 1 else parts[0]
        # Not coco_mask.decode: under NumPy 2 it warns of its own end at every call, and it is half as fast.
        _draw_runs(_decode(merged["counts"], height * width), united)
    for item in segmentations:
        if not isinstance(item, list):
            _draw_runs(runs_of(item, height, width) if isinstance(item, dict) else item, united)
    return united


def _draw_runs(runs: NDArray[np.int64] | str, united: BoolMask) -> None:
    """Add to a mask what run lengths that fill it mark."""
    if isinstance(runs, str):
        raise ValueError(runs)
    height, width = united.shape
    # Only the columns from the first marked one to the last: turning the rest over would take most of the time.
    rest = int(runs[-1]) if len(runs) % 2 else 0
    first, end = int(runs[0]) // height, width - rest // height
    if first >= end:
        return
    inside = runs.copy()
    inside[0] -= first * height
    if len(runs) % 2:
        inside[-1] -= (width - end) * height
    column_major = np.repeat(np.arange(len(runs)) % 2 == 1, inside)
    united[:, first:end] |= column_major.reshape(end - first, height).T


def _polygons_problem(parts: list[Any], height: int, width: int) -> str | None:
    bounding_px, area_px = 0.0, 0.0
    for part in parts:
        problem = _outline_problem(part)
        if problem is not None:
            return problem
        xs, ys = part[::2], part[1::2]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        # The drawing walks along the outline, so an outline of a billion pixels would take memory without end.
        if left < -width or right > 2 * width or top < -height or bottom > 2 * height:
            return f"a polygon reaches far outside the {width}x{height} image (x {left:g} to {right:g}, y {top:g} to {bottom:g})"
        way_px = _way_px(xs, ys)
        if way_px > LONGEST_OUTLINE_PX:
            return f"a polygon's outline is {way_px:.0f} pixels long, at most {LONGEST_OUTLINE_PX} are drawn"
        clipped = max(0.0, min(right, width) - max(left, 0)) * max(0.0, min(bottom, height) - max(top, 0))
        bounding_px += clipped
        area_px += min(clipped, _shoelace_px(xs, ys))
    if bounding_px < 1:
        return "the polygon covers no pixel of the image" if parts else "the segmentation is empty"
    if (bounding_px < SMALL_PX or area_px < bounding_px / 4) and not hits_a_pixel(parts, height, width):
        return "the polygon is so thin that it covers no pixel"
    return None


FINE, DOUBTFUL, WRONG = 0, 1, 2


def verdicts(
    values: NDArray[np.float64],
    part_lengths: NDArray[np.int32],
    object_parts: NDArray[np.int32],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """What `segmentation_problem` would say of many objects, a hundred times as fast.

    Args:
        values: x, y, x, y, ... of all polygons, in pixels, finite.
        part_lengths: how many of them each polygon has, even and at least six.
        object_parts: how many polygons each object has, at least one.
        heights, widths: of each object's image, in pixels.

    Returns:
        (objects,) uint8: FINE, no problem; DOUBTFUL, none if it `hits_a_pixel`; WRONG, ask for the sentence. And the sum of
        its polygons' areas inside their bounding boxes, in pixels.
    """
    corners = part_lengths // 2
    corner_ends = np.cumsum(corners)
    corner_starts = corner_ends - corners
    part_ends = np.cumsum(object_parts)
    part_starts = part_ends - object_parts
    xs, ys = values[::2], values[1::2]
    height, width = np.repeat(heights, object_parts), np.repeat(widths, object_parts)
    left, right = np.minimum.reduceat(xs, corner_starts), np.maximum.reduceat(xs, corner_starts)
    top, bottom = np.minimum.reduceat(ys, corner_starts), np.maximum.reduceat(ys, corner_starts)
    far = (left < -width) | (right > 2 * width) | (top < -height) | (bottom > 2 * height)
    across = np.minimum(right, width) - np.maximum(left, 0)
    down = np.minimum(bottom, height) - np.maximum(top, 0)
    clipped = np.maximum(across, 0) * np.maximum(down, 0)
    following = np.arange(1, len(xs) + 1)
    following[corner_ends - 1] = corner_starts
    next_xs, next_ys = xs[following], ys[following]
    shoelace = np.abs(np.add.reduceat(xs * next_ys - next_xs * ys, corner_starts)) / 2
    way = np.add.reduceat(np.maximum(np.abs(next_xs - xs), np.abs(next_ys - ys)), corner_starts)
    bounding = np.add.reduceat(clipped, part_starts)
    area = np.add.reduceat(np.minimum(clipped, shoelace), part_starts)
    doubtful = (bounding < SMALL_PX) | (area < bounding / 4)
    wrong = np.logical_or.reduceat(far | (way > LONGEST_OUTLINE_PX), part_starts) | (bounding < 1)
    return np.where(wrong, WRONG, np.where(doubtful, DOUBTFUL, FINE)).astype(np.uint8), area


def _outline_problem(part: object) -> str | None:
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        found = f"{len(part)} values" if isinstance(part, list) else type(part).__name__
        return f"a polygon is an even number of at least six coordinates, got {found}"
    if not {*map(type, part)} <= {int, float}:
        return "a polygon consists of numbers, got something else among them"
    return None if _all_finite(part) else "a polygon has a coordinate that is not finite"


def _all_finite(values: list[int | float]) -> bool:
    try:
        return all(map(math.isfinite, values))
    except OverflowError:  # an int of hundreds of digits
        return False


def _shoelace_px(xs: list[float], ys: list[float]) -> float:
    """Area of a simple polygon."""
    points = list(zip(xs, ys, strict=True))
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*points, points[0]]))) / 2


def _way_px(xs: list[float], ys: list[float]) -> float:
    """Pixels that the drawing walks through, round the polygon."""
    points = list(zip(xs, ys, strict=True))
    return sum(max(abs(x1 - x0), abs(y1 - y0)) for (x0, y0), (x1, y1) in pairwise([*points, points[0]]))


def hits_a_pixel(parts: list[Any], height: int, width: int) -> bool:
    """Whether one of the polygons marks a pixel; costs as much as drawing them."""
    drawn = coco_mask.frPyObjects([np.asarray(part, np.float64) for part in parts], height, width)
    return bool(np.sum(coco_mask.area(drawn)) > 0)


def runs_of(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.int64] | str:
    """Run lengths of an RLE object, background first, that fill the image exactly and mark something; or what is wrong."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    pixels = height * width
    if size != [height, width] or {*map(type, size)} != {int}:
        return f"the RLE size is {quoted(size)}, expected [{height}, {width}] as the image says"
    if isinstance(counts, str):
        numbers = _decode(counts.encode("utf-8", "replace"), pixels)
        if isinstance(numbers, str):
            return numbers
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= pixels for count in counts):
        numbers = np.array(counts, np.int64)
    else:
        return "RLE counts are a text or a list of integers from 0 to the number of pixels"
    if numbers.sum() != pixels:
        return f"the RLE counts add up to {numbers.sum()}, expected {pixels} ({height}x{width} pixels)"
    return numbers if numbers[1::2].any() else "the run lengths mark no pixel"


def _decode(text: bytes, pixels: int) -> NDArray[np.int64] | str:
    """Run lengths of COCO's compressed text: 5 bits a character, from the fourth on as difference to the last but one."""
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - _CHARACTER_OF_ZERO
    if bits.size == 0 or bits.min() < 0 or bits.max() > 63:
        return "the RLE text is empty or holds characters that COCO's coding does not know"
    last = bits & 0x20 == 0
    if not last[-1]:
        return "the RLE text breaks off inside a number"
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_CHARACTERS:
        return "the RLE text holds a number too large for any image"
    places = np.arange(bits.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 0x1F) << (5 * places), starts)
    values -= np.where(bits[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    if values.min() < 0 or values.max() > pixels:
        return f"the RLE text holds a run that is not from 0 to {pixels} pixels"
    return values
