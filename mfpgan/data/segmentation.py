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

from mfpgan.types import BoolMask

_SMALL_PX = 256
_LARGEST_AREA_PX = 1e12
"""What an `area` field may say; a float32 holds it."""
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
        counts = _checked_counts(segmentation, height, width)
        if isinstance(counts, str):
            return counts
        return None if counts[1::2].sum() else "the run lengths mark no pixel"
    return f"a segmentation is a list of polygons or an RLE object, got {type(segmentation).__name__}"


def draw(segmentation: Any, height: int, width: int) -> BoolMask:
    """(height, width) bool of a segmentation in which `segmentation_problem` found nothing; parts are united."""
    return draw_together([segmentation], height, width)


def draw_together(segmentations: Sequence[Any], height: int, width: int) -> BoolMask:
    """(height, width) bool, True where any of the segmentations is; all False if there is none.

    The polygons of all of them are united as run lengths and become pixels once, which is several times as fast as one
    mask each.
    """
    polygons = [part for item in segmentations if isinstance(item, list) for part in item]
    united = np.zeros((height, width), np.bool_)
    if polygons:
        parts = coco_mask.frPyObjects([[float(value) for value in part] for part in polygons], height, width)
        # Not coco_mask.decode: under NumPy 2 it warns of its own end at every call.
        united = _mask_of(_decode(coco_mask.merge(parts)["counts"], height * width), height, width)
    for item in segmentations:
        if not isinstance(item, list):
            united |= _mask_of(_checked_counts(item, height, width), height, width)
    return united


def stated_area_px(annotation: dict[str, Any]) -> float:
    """Pixels of a checked annotation without drawing it: its `area` field, otherwise worked out from its segmentation.

    COCO and LVIS define the field as the mask's pixels, and call objects small or large by it (on 2,787 COCO objects it is
    within 5 % of what is drawn for 9 of 10). Without it the polygons are taken as simple ones that do not overlap.
    """
    area = annotation.get("area")
    if isinstance(area, (int, float)) and 0 < area < _LARGEST_AREA_PX:
        return float(area)
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return sum(_shoelace_px(part[::2], part[1::2]) for part in segmentation)
    counts = _checked_counts(segmentation, *segmentation["size"])
    return float(np.sum(counts[1::2])) if not isinstance(counts, str) else 0.0


def _mask_of(counts: NDArray[np.int64] | str, height: int, width: int) -> BoolMask:
    if isinstance(counts, str):
        raise ValueError(counts)
    column_major = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(column_major.reshape(width, height).T)


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
            return (
                f"a polygon reaches far outside the {width}x{height} image (x {left} to {right}, y {top} to {bottom})"
            )
        clipped = max(0.0, min(right, width) - max(left, 0)) * max(0.0, min(bottom, height) - max(top, 0))
        bounding_px += clipped
        area_px += min(clipped, _shoelace_px(xs, ys))
    if bounding_px < 1:
        return "the polygon covers no pixel of the image" if parts else "the segmentation is empty"
    if (bounding_px < _SMALL_PX or area_px < bounding_px / 4) and not _hits_a_pixel(parts, height, width):
        return "the polygon is so thin that it covers no pixel"
    return None


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


def _hits_a_pixel(parts: list[Any], height: int, width: int) -> bool:
    drawn = coco_mask.frPyObjects([[float(value) for value in part] for part in parts], height, width)
    return bool(np.sum(coco_mask.area(drawn)) > 0)


def _checked_counts(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.int64] | str:
    """Run lengths, background first, that fill the image exactly; or what is wrong with them."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    pixels = height * width
    if size != [height, width]:
        return f"the RLE size is {str(size)[:40]}, expected [{height}, {width}] as the image says"
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
    return numbers


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
