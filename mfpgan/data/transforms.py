"""Augmentation: a random view of a sample, as a function of its seed."""

from __future__ import annotations

import os
import random
from typing import NamedTuple

import cv2
import numpy as np

from mfpgan.data.parts import Parts
from mfpgan.data.resize import resize_layers
from mfpgan.types import BoolMask, Sample

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would look for a new version on the network

import albumentations as A

CONTEXT = (1.1, 4.0)
"""A training crop is this many times as wide as the object, drawn log-uniformly."""
ASPECT = 4 / 3
"""Its sides differ by up to this factor: the benchmark squeezes 481x321 photos into squares."""
LARGEST_ENLARGEMENT = 4.0
"""A crop is never enlarged more: a tiny object stays small instead of becoming a blur."""
REDUCTIONS = (8, 4, 2, 1)
"""What a JPEG decoder can shrink by for almost nothing."""


class Window(NamedTuple):
    """A part of a photo in pixels, `top <= y < bottom`."""

    top: int
    left: int
    bottom: int
    right: int


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
            additional_targets={"valid": "mask", "others": "mask"},
        )  # fmt: skip

    def __call__(self, sample: Sample, seed: list[int]) -> Sample:
        """One random view of the sample, `size` pixels square; what rotation brings in from outside is ignored.

        Args:
            seed: any non-negative integers: the run's seed and the position in the run.
        """
        parts = Parts(sample.id, sample.target, sample.ignore, lambda _: sample.image)
        return self.view(parts, sample.others, seed, reduced=False)

    def view(self, parts: Parts, others: BoolMask | None, seed: list[int], *, reduced: bool = True) -> Sample:
        """The same of a sample whose photo is not decoded yet: never at a higher resolution than the square needs.

        Args:
            others: (H, W) bool or None, as in `Sample`.
            reduced: False decodes the whole photo whatever the crop.

        Raises:
            InputError: the photo cannot be read.
        """
        rng = np.random.default_rng(seed)
        window = draw_window(parts.target, self.size, rng)
        seen = _look(parts, others, window, self.size, reduced)
        # Not `set_random_seed`: it gives every transform the same seed, so that one number would decide over them all, and
        # no view that is not mirrored would ever be turned.
        self._compose.set_random_state(rng, random.Random(int(rng.integers(2**31))))
        valid = np.ones_like(seen.target) if seen.ignore is None else ~seen.ignore
        # Masks as 0 and 255, turned with linear interpolation and cut at one half: as exact as the area resampling.
        layers = {"mask": seen.target, "valid": valid}
        if seen.others is not None:
            layers["others"] = seen.others
        moved = self._compose(image=seen.image, **{name: _as_bytes(layer) for name, layer in layers.items()})
        target, ignore = moved["mask"] >= 128, moved["valid"] < 128
        if not target.any():  # rotation pushed a sliver at the edge outside
            return seen
        # Only the object can tie with the others at one half: they lie within `valid`, so a pixel of theirs is valid too.
        others = None if seen.others is None else (moved["others"] >= 128) & ~target
        return Sample(parts.id, moved["image"], target, ignore & ~target, others)


def _as_bytes(mask: BoolMask) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return mask.view(np.uint8) * np.uint8(255)


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


def _look(parts: Parts, others: BoolMask | None, window: Window, size: int, reduced: bool) -> Sample:
    """What lies in the window, `size` pixels square. The photo is decoded at the largest reduction that leaves the crop as
    many pixels as the square; the window then grows to whole pixels of the reduced photo."""
    sides = window.bottom - window.top, window.right - window.left
    reduction = next(r for r in REDUCTIONS if r == 1 or (reduced and min(sides) >= r * size))
    photo = parts.photo(reduction)
    if photo.shape[:2] == parts.target.shape:
        reduction = 1  # asked for less, but its format knows only whole photos
    top, left = window.top // reduction, window.left // reduction
    bottom, right = -(-window.bottom // reduction), -(-window.right // reduction)
    whole = Window(top * reduction, left * reduction, bottom * reduction, right * reduction)
    return resize_layers(
        parts.id,
        photo[top:bottom, left:right],
        _cut(parts.target, whole),
        None if parts.ignore is None else _cut(parts.ignore, whole),
        None if others is None else _cut(others, whole),
        size,
        size,
    )  # fmt: skip


def _cut(mask: BoolMask, window: Window) -> BoolMask:
    """The window of a mask. Where it reaches beyond the photo's end, as the last reduced pixel does if the side is no
    multiple of the reduction, the mask goes on as JPEG encoders let the photo go on: with its last row and column."""
    inside = mask[window.top : window.bottom, window.left : window.right]
    beyond = [(0, end - min(end, side)) for end, side in zip((window.bottom, window.right), mask.shape, strict=True)]
    return np.pad(inside, beyond, mode="edge") if any(after for _, after in beyond) else inside
