"""Errors planted in drawn masks, so that what a discriminator minds is known and not guessed."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin, sqrt

import cv2
import numpy as np

from mfpgan.types import BoolMask

SHIFT, RADIUS, WARP, WAVELENGTH = 0.15, 0.12, 0.08, 0.5
"""Shares of an object's size, the root of its area: how far it is shifted, how large a hole or a blob is, how far the edge
is bent, and over what length."""
SMALLEST_PX = 3


def shifted(target: BoolMask, rng: np.random.Generator) -> BoolMask:
    """The whole object moved in a random direction; what leaves the picture is lost."""
    angle, far = rng.uniform(0, 2 * pi), _pixels(target, SHIFT)
    down, right = round(far * sin(angle)), round(far * cos(angle))
    height, width = target.shape
    moved = np.zeros_like(target)
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = target[
        max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
    ]
    return moved


def holes(target: BoolMask, rng: np.random.Generator) -> BoolMask:
    """One to three disks taken out, their centres on the object."""
    return target & ~_disks(target, target, rng)


def blobs(target: BoolMask, rng: np.random.Generator) -> BoolMask:
    """One to three disks added, their centres off the object."""
    return target | _disks(target, ~target, rng)


def warped(target: BoolMask, rng: np.random.Generator) -> BoolMask:
    """The edge bent in and out by a smooth random field: right on the whole, wrong at the boundary."""
    height, width = target.shape
    wave = max(4.0, WAVELENGTH * _pixels(target, 1.0))
    grid = rng.standard_normal((2, int(height / wave) + 3, int(width / wave) + 3)).astype(np.float32)
    fields = [
        _pixels(target, WARP) * cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in grid
    ]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    bent = cv2.remap(
        target.astype(np.uint8),
        columns + fields[1],
        rows + fields[0],
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    moved: BoolMask = bent.astype(np.bool_)
    return moved


def _disks(target: BoolMask, where: BoolMask, rng: np.random.Generator) -> BoolMask:
    """(H, W) bool, one to three disks with their centres at random `where` is True; none if it nowhere is."""
    painted = np.zeros(target.shape, np.uint8)
    rows, columns = np.nonzero(where)
    for _ in range(int(rng.integers(1, 4)) if len(rows) else 0):
        centre = int(rng.integers(len(rows)))
        cv2.circle(painted, (int(columns[centre]), int(rows[centre])), round(_pixels(target, RADIUS)), 1, -1)
    disks: BoolMask = painted.astype(np.bool_)
    return disks


def _pixels(target: BoolMask, share: float) -> float:
    return max(SMALLEST_PX, share * sqrt(np.count_nonzero(target)))


PLANTED: dict[str, Callable[[BoolMask, np.random.Generator], BoolMask]] = {
    "shifted": shifted,
    "holes": holes,
    "blobs": blobs,
    "warped": warped,
}
"""(target (H, W) bool, chance) -> (H, W) bool; a function of both."""
