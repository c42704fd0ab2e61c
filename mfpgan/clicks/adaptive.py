"""The user who follows the mistakes, not always in their middle."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import Depths, depths, errors, uniform
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Adaptive:
    """One click in the largest error: in the connected region around the deepest wrong pixel, as deep as `spread` asks.

    Positive if and only if the missed part is strictly deeper than the surplus, as the benchmark's robot has it. Of that
    region every pixel deeper than (1 - spread) of the greatest depth is equally likely: spread 0 is the robot `center`,
    .5 is RITM's rule (isegm/engine/trainer.py, get_next_points), 1 is the whole region. () when nothing is wrong.
    """

    spread: Annotated[float, Field(ge=0, le=1)] = 0.5
    """From 0, the middle of the error, to 1, anywhere in it."""
    rounds: Annotated[int, Field(ge=0, le=20)] = 3
    """Most clicks after the first in training. 3 as in RITM."""

    def __call__(
        self,
        target: BoolMask,
        prediction: BoolMask | None,
        clicks: Sequence[Click],
        rng: np.random.Generator,
        ignore: BoolMask | None = None,
        others: BoolMask | None = None,
    ) -> tuple[Click, ...]:
        missed, extra = (depths(error, clicks) for error in errors(target, prediction, ignore))
        deeper = missed if missed.squared > extra.squared else extra
        if not deeper.squared:
            return ()
        y, x = self._draw(deeper, rng)
        return (Click(y, x, deeper is missed),)

    def _draw(self, found: Depths, rng: np.random.Generator) -> tuple[int, int]:
        # Squared depths are integers, so a ten-thousandth of a pixel is far more than the transform's last bit and far
        # less than the step between two depths: no platform puts a pixel on the other side.
        deep = found.distance > (1 - self.spread) * sqrt(found.squared) + 1e-4
        pixel = uniform(deep & found.region(), rng) if deep.any() else None
        if pixel is None:  # spread 0: nothing is deeper than the deepest
            return found.deepest()
        return found.top + pixel[0], found.left + pixel[1]
