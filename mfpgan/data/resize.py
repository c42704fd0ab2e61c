"""Resizing that does not shift masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Image, Sample


def resize_image(image: Image, height: int, width: int) -> Image:
    """(H, W, 3) uint8 to (height, width, 3): area average when shrinking, linear when enlarging."""
    resized: Image = cv2.resize(image, (width, height), interpolation=_interpolation(image, height, width))
    return resized


def resize_mask(mask: BoolMask, height: int, width: int, *, keep: bool = False) -> BoolMask:
    """(H, W) bool to (height, width): True where at least half of the pixel's area was.

    Nearest-neighbour resizing would shift the mask by about half a pixel. With `keep`, a mask too thin to fill half of
    any pixel leaves the pixels that it fills most, so that it never vanishes.
    """
    # 255 instead of 1 leaves room for shares: cv2 averages in the image's own type.
    share = cv2.resize(
        mask.astype(np.uint8) * np.uint8(255), (width, height), interpolation=_interpolation(mask, height, width)
    )
    resized: BoolMask = share >= 128
    if keep and not resized.any():
        resized = share == share.max() if share.any() else _nearest_pixel(mask, height, width)
    return resized


def _nearest_pixel(mask: BoolMask, height: int, width: int) -> BoolMask:
    """The one pixel that the mask's middle falls into."""
    ys, xs = np.nonzero(mask)
    resized = np.zeros((height, width), bool)
    resized[int(np.median(ys) * height / mask.shape[0]), int(np.median(xs) * width / mask.shape[1])] = True
    return resized


def _interpolation(array: NDArray[np.generic], height: int, width: int) -> int:
    return int(cv2.INTER_AREA if height * width < array.shape[0] * array.shape[1] else cv2.INTER_LINEAR)


def resize_sample(sample: Sample, height: int, width: int) -> Sample:
    """A sample stretched to another size, its aspect given up: how protocol `single` and validation see a photo.

    The object never vanishes, the ignore band never covers it, and the other objects cover neither.
    """
    return resize_layers(sample.id, sample.image, sample.target, sample.ignore, sample.others, height, width)


def resize_layers(
    name: str,
    image: Image,
    target: BoolMask,
    ignore: BoolMask | None,
    others: BoolMask | None,
    height: int,
    width: int,
) -> Sample:
    """The same for a photo and masks of one view that may differ in resolution."""
    target = resize_mask(target, height, width, keep=True)
    ignore = None if ignore is None else resize_mask(ignore, height, width) & ~target
    others = None if others is None else resize_mask(others, height, width) & ~target
    if others is not None and ignore is not None:
        others &= ~ignore
    return Sample(name, resize_image(image, height, width), target, ignore, others)
