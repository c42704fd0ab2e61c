"""Zoom-in at inference: after the first click the network looks closely at the part of the photo where the object is.

The rules and the numbers are RITM's (Sofiiuk, Petrov and Konushin, ICIP 2022; isegm/inference/transforms/zoom_in.py and
the boxes in isegm/utils/misc.py). As there, all that the network sees has one size, the whole photo at the first click too
(RITM's skip_clicks -1): a network that was trained at 192 pixels fails at 481. Four departures, each where RITM's code does something that its rule does not say:

- While the previous mask is empty the whole photo is looked at and the view is forgotten. RITM shows the network the
  whole photo too, but pastes the answer into the old view.
- A click on the view's last row or column lies inside; RITM's test leaves both out and computes a new view.
- Clicks move into the crop as its pixels do, corner onto corner (`align_corners`), and are rounded. RITM multiplies by
  the ratio of the sizes, which is up to one enlarged pixel away from what was clicked.
- Negative clicks outside the view are left out; RITM keeps them with coordinates outside, where at most the rim of
  their disk reaches into the crop. Nothing is lost: the mask is empty out there, and `ClickSession` repeats its last
  answer when such a click is the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import THRESHOLD, Click, Probability

SKIP_CLICKS = 1
"""So many first clicks see the whole photo. RITM, skip_clicks."""
EXPANSION = 1.4
"""A view is so many times as high and as wide as what it shows. RITM, expansion_ratio."""
MIN_VIEW_PX = 200
"""A view is at least so high and wide, in pixels of the photo, before the photo's edges cut it. RITM, min_crop_size."""
KEEP_IOU = 0.5
"""The last view is kept while its overlap with the new one is at least this. RITM, recompute_thresh_iou."""
SHRUNK = 4
"""A view that many times as large as its crop, and larger, is averaged instead of sampled: of a photo of 24 megapixels at 192
pixels, one pixel in a thousand would be looked at. BSDS500's photos are never shrunk so far."""
CROP_PX = 400
"""Longer side of what the network sees of a view, in pixels, where nobody says how large it was trained. RITM, target_size."""


class View(NamedTuple):
    """The part of a photo that the network looks at: rows top to bottom - 1, columns left to right - 1; never empty."""

    top: int
    left: int
    bottom: int
    right: int

    def holds(self, click: Click) -> bool:
        """Whether the click, in pixels of the photo, lies inside."""
        return self.top <= click.y < self.bottom and self.left <= click.x < self.right


def next_view(
    previous: Probability | None, clicks: Sequence[Click], last: View | None, skip: int = SKIP_CLICKS
) -> View | None:
    """Where the network looks to answer the newest click.

    The new view is the bounding box of the previous mask and of all positive clicks, enlarged about its middle and cut
    off at the photo's edges. It holds every pixel of the previous mask and every positive click. A positive click that
    a later one on its pixel has withdrawn is none.

    Args:
        previous: (H, W) float32 in [0, 1], the answer before the newest click; None counts as empty.
        clicks: all clicks, the newest included, oldest first, in pixels of the photo.
        last: what this function returned for the click before; None after `set_image`.
        skip: so many first clicks see the whole photo; 0 for a user who began with a mask.

    Returns:
        The last view if it holds all positive clicks and overlaps enough with the new one, else the new one; None, look
        at the whole photo, for the first click and while the previous mask is empty.

    Raises:
        ValueError: a click lies outside the photo; only looked for when the answer is a view.
    """
    if previous is None or len(clicks) <= skip:
        return None
    mask = previous > THRESHOLD
    if not mask.any():
        return None
    height, width = mask.shape
    for click in clicks:
        if not View(0, 0, height, width).holds(click):
            raise ValueError(
                f"click at y={click.y}, x={click.x} lies outside the image of height {height} and width {width}"
            )
    last_on_pixel = {(click.y, click.x): click for click in clicks}
    positive = [click for click in last_on_pixel.values() if click.positive]
    for click in positive:
        mask[click.y, click.x] = True
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom = _enlarged(int(rows[0]), int(rows[-1]), height)
    left, right = _enlarged(int(columns[0]), int(columns[-1]), width)
    new = View(top, left, bottom, right)
    if last is not None and all(last.holds(click) for click in positive):
        return last if _overlap(last, new) >= KEEP_IOU else new
    return new


def crop_size(view: View, size_px: int = CROP_PX) -> tuple[int, int]:
    """(height, width) of a view's crop: the longer side is `size_px`, the aspect is kept, no side is 0."""
    height, width = view.bottom - view.top, view.right - view.left
    scale = size_px / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def averaging(length: int, shorter: int) -> NDArray[np.float32]:
    """How a side of `length` pixels becomes one of `shorter`, where plain interpolation would leave most pixels out.

    Each new pixel is a mean of the old ones round it, by a triangle that reaches to its neighbours (as Pillow's BILINEAR
    shrinks), its middle corner onto corner as in the rest of this module.

    Returns:
        (shorter, length) float32; rows add up to 1. The photo's rows times one of them, and its columns times another.
    """
    step = (length - 1) / max(shorter - 1, 1)
    middles = np.arange(shorter) * step
    weights = np.maximum(1 - np.abs(np.arange(length) - middles[:, None]) / max(step, 1), 0)
    result: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return result


def clicks_in(clicks: Sequence[Click], view: View, size_px: int = CROP_PX) -> tuple[Click, ...]:
    """The clicks that lie in the view, in pixels of its crop; those outside are left out.

    `next_view` holds all positive clicks that stand, so only negative ones are lost to it.

    Args:
        clicks: in pixels of the photo, oldest first.

    Returns:
        In the same order; each lies on the pixel of the crop nearest to the photo's pixel. Where a
        view is shrunk and an older click on another pixel of the photo lies there already, the younger one gives way to
        the nearest free pixel (of equally near ones the first in reading order), because on one pixel it would withdraw
        the older one. With no pixel free it does so.
    """
    height, width = crop_size(view, size_px)
    places: dict[tuple[int, int], tuple[int, int]] = {}
    moved = []
    for y, x, positive in filter(view.holds, clicks):
        if (y, x) not in places:
            row = _moved(y - view.top, view.bottom - view.top, height)
            column = _moved(x - view.left, view.right - view.left, width)
            places[y, x] = _nearest_free(row, column, height, width, set(places.values()))
        moved.append(Click(*places[y, x], positive))
    return tuple(moved)


def _enlarged(first: int, last: int, limit: int) -> tuple[int, int]:
    """(start, stop) of the pixels first to last, enlarged about their middle, inside a side of `limit` pixels."""
    middle, reach = (first + last) / 2, max(EXPANSION * (last - first + 1), MIN_VIEW_PX) / 2
    return max(round(middle - reach), 0), min(round(middle + reach) + 1, limit)


def _overlap(a: View, b: View) -> float:
    """IoU of the rows times IoU of the columns (RITM): at most the IoU of the areas, equal if one holds the other."""
    rows = max(min(a.bottom, b.bottom) - max(a.top, b.top), 0) / (max(a.bottom, b.bottom) - min(a.top, b.top))
    columns = max(min(a.right, b.right) - max(a.left, b.left), 0) / (max(a.right, b.right) - min(a.left, b.left))
    return rows * columns


def _moved(offset: int, length: int, crop_length: int) -> float:
    """Where pixel `offset` of `length` lies in a crop of `crop_length` pixels, first onto first and last onto last."""
    return offset * (crop_length - 1) / (length - 1) if length > 1 else 0.0


def _nearest_free(row: float, column: float, height: int, width: int, taken: set[tuple[int, int]]) -> tuple[int, int]:
    """The pixel nearest to (row, column) that is not taken; the nearest of all if there is none."""
    nearest = round(row), round(column)
    if nearest not in taken or len(taken) == height * width:
        return nearest
    rows, columns = np.ogrid[:height, :width]
    squared = (rows - row) ** 2 + (columns - column) ** 2
    squared[tuple(zip(*taken, strict=True))] = np.inf
    first, second = divmod(int(squared.argmin()), width)
    return first, second
