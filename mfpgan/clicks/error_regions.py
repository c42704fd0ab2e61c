"""Where a mask is wrong, and which wrong pixel lies deepest: the geometry of the benchmark's robot user."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Click


def errors(target: BoolMask, prediction: BoolMask | None, ignore: BoolMask | None = None) -> tuple[BoolMask, BoolMask]:
    """False negatives and false positives outside the ignore band.

    Args:
        target: (H, W) bool.
        prediction: (H, W) bool; None counts as an empty mask.
        ignore: (H, W) bool, pixels that are never an error.

    Returns:
        Two (H, W) bool masks, FN and FP. They may share memory with the arguments: do not write to them.
    """
    if prediction is None:
        missed, extra = target, np.zeros_like(target)
    else:
        missed, extra = target & ~prediction, prediction & ~target
    if ignore is not None:
        counts = ~ignore
        missed, extra = missed & counts, extra & counts
    return missed, extra


class Depths(NamedTuple):
    """How deep the pixels of a region lie: distances to everything outside it, the picture edge included."""

    distance: NDArray[np.float32]
    """(h, w) float32 on the region's bounding box, in pixels: 0 outside the region and where nobody may click."""
    top: int
    left: int
    squared: int
    """The greatest squared depth, 0 if no pixel can be chosen. Squared Euclidean distances on a grid are integers."""

    def deepest(self) -> tuple[int, int]:
        """(y, x) of the deepest pixel, the first in reading order; only for `squared` > 0."""
        # The transform may be off by one unit in the last place: take every pixel above the middle between the
        # greatest integer and the next smaller one.
        y, x = divmod(int(np.argmax(self.distance > sqrt(self.squared - 0.5))), self.distance.shape[1])
        return self.top + y, self.left + x

    def region(self) -> BoolMask:
        """(h, w) bool on the bounding box: the pixels connected to the deepest one, also across corners, that can be
        chosen; only for `squared` > 0."""
        y, x = self.deepest()
        pixels = (self.distance > 0).view(np.uint8)
        cv2.floodFill(pixels, None, (x - self.left, y - self.top), 2, flags=8)
        connected: BoolMask = pixels == 2
        return connected


def depths(mask: BoolMask, clicks: Sequence[Click] = ()) -> Depths:
    """Exact depth of every pixel of a region, up to a depth of 1,000 pixels; far beyond, the float32 of the distance
    transform cannot tell neighbouring squared distances apart.

    Args:
        mask: (H, W) bool.
        clicks: pixels that cannot be chosen; they are taken out after the distance transform, so that they do not
            make their neighbours shallower (RITM, isegm/inference/clicker.py: `dt * not_clicked_map`).
    """
    pixels = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if width == 0:
        return Depths(np.zeros((0, 0), np.float32), 0, 0, 0)
    # Only the bounding box is transformed. A pixel outside the mask that is not in the box has a pixel of the
    # box's surrounding ring that is no farther away (clamp its coordinates), and the whole ring is outside the mask
    # or outside the picture. The ring of zeros is also what makes the picture edge count as border.
    box = cv2.copyMakeBorder(pixels[top : top + height, left : left + width], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(box, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for click in clicks:
        y, x = click.y - top, click.x - left
        if 0 <= y < height and 0 <= x < width:
            distance[y, x] = 0
    return Depths(distance, top, left, round(float(distance.max()) ** 2))


def deepest(mask: BoolMask, clicks: Sequence[Click] = ()) -> tuple[int, int, int]:
    """The pixel of a region that is farthest from everything outside it, as the field's robot finds it.

    Equally deep pixels are true ties on every platform; the first one in reading order wins. Arguments as in `depths`.

    Returns:
        (squared depth, y, x), squared depth in pixels squared and at least 1; (0, 0, 0) if no pixel can be chosen.
    """
    found = depths(mask, clicks)
    return (found.squared, *found.deepest()) if found.squared else (0, 0, 0)


def uniform(mask: BoolMask, rng: np.random.Generator) -> tuple[int, int] | None:
    """(y, x) of a pixel of the mask, all equally likely; None, and no draw, if the mask is empty."""
    inside = np.flatnonzero(mask)
    if not inside.size:
        return None
    y, x = divmod(int(inside[rng.integers(inside.size)]), mask.shape[1])
    return y, x
