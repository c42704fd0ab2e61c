"""From samples of any size to squares of one size: resizing that does not shift masks, and augmentation."""

from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Image, Sample

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would look for a new version on the network

import albumentations as A

CONTEXT = (1.1, 4.0)
"""A training crop is this many times as wide as the object, drawn log-uniformly."""
ASPECT = 4 / 3
"""Its sides differ by up to this factor: the benchmark squeezes 481x321 photos into squares."""
LARGEST_ENLARGEMENT = 4.0
"""A crop is never enlarged more: a tiny object stays small instead of becoming a blur."""


class Square(NamedTuple):
    """One object in a square of the network's size."""

    image: Image
    """(S, S, 3) uint8, RGB."""
    target: BoolMask
    """(S, S) bool; never empty."""
    valid: BoolMask
    """(S, S) bool, False in the ignore band and outside the photo (where it was rotated)."""


class Window(NamedTuple):
    """A part of a photo in pixels, `top <= y < bottom`."""

    top: int
    left: int
    bottom: int
    right: int


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


def resize_sample(sample: Sample, size: int) -> Square:
    """The whole photo as a square of `size` pixels, its aspect given up, as protocol `single` and validation see it."""
    return _cut(sample, Window(0, 0, *sample.target.shape), size)


class Augmentation:
    """Crop round the object, flips, rotation and colour; the same (sample, seed) gives the same square to the bit.

    The crop is ours, because the libraries' crops round a box draw sizes uniformly between box and photo, which leaves
    LVIS's small objects a few pixels wide; the rest is albumentations.

    Args:
        size: side of the square, in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._compose = A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.1),
                A.Affine(
                    rotate=(-20, 20), interpolation=cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_LINEAR,
                    border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=0, p=0.5,
                ),
                A.ColorJitter(brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.05, 0.05), p=0.7),
                A.ToGray(p=0.05),
            ],
            additional_targets={"valid": "mask"},
        )  # fmt: skip

    def __call__(self, sample: Sample, seed: list[int]) -> Square:
        """One random view of the sample.

        Args:
            seed: any non-negative integers: the run's seed and the position in the run.
        """
        rng = np.random.default_rng(seed)
        cut = _cut(sample, draw_window(sample.target, self.size, rng), self.size)
        self._compose.set_random_seed(int(rng.integers(2**31)))
        seen = self._compose(
            image=cut.image,
            mask=cut.target.view(np.uint8) * np.uint8(255),
            valid=cut.valid.view(np.uint8) * np.uint8(255),
        )
        target, valid = seen["mask"] >= 128, seen["valid"] >= 128
        if not target.any():  # rotation pushed a sliver at the edge outside
            return cut
        return Square(seen["image"], target, valid | target)


def draw_window(target: BoolMask, size: int, rng: np.random.Generator) -> Window:
    """A random part of the photo that holds the whole object, at most `CONTEXT` times as wide.

    Where the photo is too small for that, the window ends with the photo and is less square: squeezed pixels are what
    protocol `single` shows, black margins are not.
    """
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = max(extent * np.exp(rng.uniform(*np.log(CONTEXT))), size / LARGEST_ENLARGEMENT)
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(ASPECT))
    starts, lengths = [], []
    for wanted, span, photo in ((side * stretch, rows, target.shape[0]), (side / stretch, columns, target.shape[1])):
        first, end = int(span[0]), int(span[-1]) + 1
        length = min(max(round(float(wanted)), end - first), photo)
        starts.append(int(rng.integers(max(end - length, 0), min(first, photo - length) + 1)))
        lengths.append(length)
    return Window(starts[0], starts[1], starts[0] + lengths[0], starts[1] + lengths[1])


def _cut(sample: Sample, window: Window, size: int) -> Square:
    """The window as a square."""
    inside = np.s_[window.top : window.bottom, window.left : window.right]
    target = resize_mask(sample.target[inside], size, size, keep=True)
    valid = np.ones((size, size), bool)
    if sample.ignore is not None:
        valid = ~resize_mask(sample.ignore[inside], size, size) | target
    return Square(resize_image(sample.image[inside], size, size), target, valid)
