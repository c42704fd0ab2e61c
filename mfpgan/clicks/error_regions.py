"""Where a mask is wrong, and which wrong pixel lies deepest: the geometry of the benchmark's robot user."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import cv2
import numpy as np

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


def deepest(mask: BoolMask, clicks: Sequence[Click] = ()) -> tuple[int, int, int]:
    """The pixel of a region that is farthest from everything outside it, as the field's robot finds it.

    The picture edge counts as outside. Squared Euclidean distances on a grid are integers, so equally deep pixels are
    true ties on every platform; the first one in reading order wins. Exact up to a depth of 1,000 pixels; far beyond, the
    float32 of the distance transform cannot tell neighbouring squared distances apart.

    Args:
        mask: (H, W) bool.
        clicks: pixels that cannot be chosen; they are taken out after the distance transform, so that they do not
            make their neighbours shallower (RITM, isegm/inference/clicker.py: `dt * not_clicked_map`).

    Returns:
        (squared depth, y, x), squared depth in pixels squared and at least 1; (0, 0, 0) if no pixel can be chosen.
    """
    pixels = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if width == 0:
        return 0, 0, 0
    # Only the bounding box is transformed. A pixel outside the mask that is not in the box has a pixel of the
    # box's surrounding ring that is no farther away (clamp its coordinates), and the whole ring is outside the mask
    # or outside the picture. The ring of zeros is also what makes the picture edge count as border.
    box = cv2.copyMakeBorder(pixels[top : top + height, left : left + width], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(box, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for click in clicks:
        y, x = click.y - top, click.x - left
        if 0 <= y < height and 0 <= x < width:
            depth[y, x] = 0
    # The transform may be off by one unit in the last place: round the maximum to the integer it stands for, and
    # take every pixel above the middle between it and the next smaller integer.
    squared = round(float(depth.max()) ** 2)
    if squared == 0:
        return 0, 0, 0
    y, x = divmod(int(np.argmax(depth > sqrt(squared - 0.5))), width)
    return squared, top + y, left + x
