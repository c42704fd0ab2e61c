"""The field's training user: many clicks at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.random import Random
from mfpgan.types import BoolMask, Click

_MARGIN_PX = 3
_FEWEST_PIXELS = 10
"""Positive points keep 3 pixels off the object's edge, if more than 10 pixels of the object are left then."""
_BORDER_WIDTH = 0.1
"""Width of the strip along the object where negative points lie, in square roots of the object's area."""
_OTHERS_OVER_BACKGROUND = 0.8
"""Of the negative points that are not in the strip, the share on other objects: .4 of .4 + .1."""


@dataclass(frozen=True)
class Multi:
    """A handful of points on and off the object, the points sampler of RITM (Sofiiuk et al., ICIP 2022;
    MultiPointSampler in isegm/data/points_sampler.py with the settings of the COCO+LVIS models).

    The first turn (no clicks yet) does not look at the prediction: 1 to `points` positive points, each one anywhere on
    the object; then 0 to `points` negative ones, each in an area of its own draw: the strip around the object, which
    is .1 * sqrt(area) wide, the other objects (all that is not the object if there are none), or all that is not the
    object. As in RITM, points may coincide, and a point whose area is empty is left out; so the turn of an empty target
    may be (). No point lies in the ignore band. Every later turn is one of `random`.
    """

    uses_others: ClassVar[bool] = True
    points: Annotated[int, Field(ge=1, le=100)] = 24
    """Most points of a sign. 24 as in RITM."""
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    """How much rarer each further point is: k points more have probability in proportion to ratio**k. RITM's gamma."""
    eroded: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Probability that all positive points keep off the object's edge by 3 pixels. .9 as in RITM."""
    border: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a negative point lies in the strip around the object; what is left goes to other objects and
    background 4 to 1. .5, .4 and .1 as in RITM."""
    rounds: Annotated[int, Field(ge=0, le=20)] = 0
    """Most turns after the first in training."""

    def __call__(
        self,
        target: BoolMask,
        prediction: BoolMask | None,
        clicks: Sequence[Click],
        rng: np.random.Generator,
        ignore: BoolMask | None = None,
        others: BoolMask | None = None,
    ) -> tuple[Click, ...]:
        if clicks:
            return Random()(target, prediction, clicks, rng, ignore, others)
        positive, negative = 1 + self._count(self.points, rng), self._count(self.points + 1, rng)
        on_object = _positive_area(target, ignore, erode=rng.random() < self.eroded)
        turn = [Click(*pixel, True) for pixel in _draw(on_object, positive, target.shape[1], rng)]
        off_border = 1 - self.border
        shares = (self.border, off_border * _OTHERS_OVER_BACKGROUND, off_border * (1 - _OTHERS_OVER_BACKGROUND))
        in_border, on_others, in_background = (int(count) for count in rng.multinomial(negative, shares))
        outside = ~target if ignore is None else ~(target | ignore)
        off_object: list[tuple[int, int]] = []
        if in_border:
            off_object += _draw(_border_area(target, outside), in_border, target.shape[1], rng)
        if on_others and others is not None and others.any():
            off_object += _draw(np.flatnonzero(others & outside), on_others, target.shape[1], rng)
        else:
            in_background += on_others
        if in_background:
            off_object += _draw(np.flatnonzero(outside), in_background, target.shape[1], rng)
        # In mixed order: some encodings give the last click a part of its own.
        turn += [Click(*off_object[int(index)], False) for index in rng.permutation(len(off_object))]
        return tuple(turn)

    def _count(self, choices: int, rng: np.random.Generator) -> int:
        weights = self.ratio ** np.arange(choices)
        return int(rng.choice(choices, p=weights / weights.sum()))


def _draw(area: NDArray[np.intp], count: int, width: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` times (y, x) of a pixel of the area (flat indices), with replacement; none of an empty area."""
    if not area.size:
        return []
    return [divmod(int(pixel), width) for pixel in area[rng.integers(area.size, size=count)]]


def _box(mask: BoolMask, margin: int) -> tuple[slice, slice]:
    """Bounding box of a mask with a margin, as far as the picture goes."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    rows = slice(max(top - margin, 0), min(top + height + margin, mask.shape[0]))
    return rows, slice(max(left - margin, 0), min(left + width + margin, mask.shape[1]))


def _positive_area(target: BoolMask, ignore: BoolMask | None, erode: bool) -> NDArray[np.intp]:
    """Flat indices of the pixels where positive points may lie."""
    counts = target if ignore is None else target & ~ignore
    if erode:
        # Beyond the picture's edge nothing erodes, as in RITM: an object that is cut off there goes on.
        kernel = np.ones((2 * _MARGIN_PX + 1, 2 * _MARGIN_PX + 1), np.uint8)
        box = _box(target, _MARGIN_PX)
        inner = np.zeros_like(counts)
        inner[box] = cv2.erode(target[box].view(np.uint8), kernel).view(np.bool_) & counts[box]
        area = np.flatnonzero(inner)
        if area.size > _FEWEST_PIXELS:
            return area
    return np.flatnonzero(counts)


def _border_area(target: BoolMask, outside: BoolMask) -> NDArray[np.intp]:
    """Flat indices of the pixels of `outside` in the strip along the object."""
    radius = ceil(_BORDER_WIDTH * sqrt(np.count_nonzero(target)))
    box = _box(target, radius)
    strip = np.zeros_like(target)
    # Dilating by 3x3 a number of times is the same as dilating by one square.
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    strip[box] = cv2.dilate(target[box].view(np.uint8), kernel).view(np.bool_) & outside[box]
    return np.flatnonzero(strip)
