"""One answer beside the truth: photo with clicks, object, and the answer's errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfpgan.figures.drawing import (
    CAPTION_PX,
    EXTRA,
    FOUND,
    GAP_PX,
    MISSED,
    PAPER,
    caption,
    dim,
    draw_click,
    outline,
    tint,
)
from mfpgan.types import BoolMask, Click, Image


def draw_triplet(
    image: Image, clicks: Sequence[Click], target: BoolMask, prediction: BoolMask, ignore: BoolMask | None = None
) -> Image:
    """Photo with clicks, truth, and prediction with its errors, side by side under thin captions.

    Args:
        image: (H, W, 3) uint8, RGB.
        clicks: in pixels of the image; green disks with a plus, red disks with a minus.
        target: (H, W) bool.
        prediction: (H, W) bool; what it found is blue, what it missed yellow, what is too much orange.
        ignore: (H, W) bool or None; no error is shown there.

    Returns:
        (20 + H, 3 W + 12, 3) uint8, RGB: the caption strip is 20 pixels high, the two gaps are 6 wide.

    Raises:
        ValueError: the masks are not (H, W) bool.
    """
    for name, mask in (("target", target), ("prediction", prediction), ("ignore", ignore)):
        if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != np.bool_):
            raise ValueError(f"{name} must be {image.shape[:2]} bool, got {mask.shape} {mask.dtype}")
    counts = np.True_ if ignore is None else ~ignore
    photo = image.copy()
    for click in clicks:
        draw_click(photo, click)
    truth = outline(tint(dim(image, target), target, FOUND, 0.35), target)
    answer = dim(image, target | prediction)
    answer = tint(answer, target & prediction, FOUND, 0.35)
    answer = tint(answer, target & ~prediction & counts, MISSED, 0.6)
    answer = tint(answer, prediction & ~target & counts, EXTRA, 0.6)
    answer = outline(answer, prediction)
    width = image.shape[1]
    panels = (
        (photo, [("image and clicks", None)]),
        (truth, [("truth", None)]),
        (answer, [("found", FOUND), ("missed", MISSED), ("too much", EXTRA)]),
    )
    gap = np.full((CAPTION_PX + image.shape[0], GAP_PX, 3), PAPER, np.uint8)
    columns = [np.concatenate([caption(words, width), panel]) for panel, words in panels]
    return np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)
