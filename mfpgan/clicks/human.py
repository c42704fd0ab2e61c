"""A robot that misses like people."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import Depths, depths, errors
from mfpgan.types import BoolMask, Click

_TRIES = 10
"""How often the hand tries for a pixel that may be clicked before it goes exactly where the eye is."""


@dataclass(frozen=True)
class Human:
    """One click in the error that the robot `center` would choose, as an eye picks and a hand hits it.

    The eye picks a pixel of the connected region around the deepest wrong pixel with a chance in proportion to its depth.
    Of the simple models of real clicks that RClicks compares (Antonov et al., NeurIPS 2024; TETRIS validation part,
    experiments/eval_cm in emb-ai/rclicks) this one is nearer to people than equal chances (normalised scanpath saliency
    6.45 against 3.99), though not as near as their trained network (9.11).

    The hand lands beside it by a Gaussian, along both axes alike, and inside the picture: a miss off the edge counts on
    the edge. The click keeps the sign that the user meant, so one that missed the region may say something untrue. A
    pixel in the ignore band or clicked before is never the outcome: the hand tries again, and after 10 tries goes exactly
    where the eye is. () when nothing is wrong.
    """

    jitter: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Standard deviation of the hand along each axis, in square roots of the region's area; 0 is a steady hand.

    In proportion to the size because people aim as carefully as the target asks: the spread of their clicks is the
    target's width / 4.133 when they hurry and 4 % miss (MacKenzie, Human-Computer Interaction 1992, effective target
    width). It is the region that is aimed at, so its size counts, not the object's. A touch screen would add a constant
    part for the finger (Bi, Li and Zhai, CHI 2013), left out because pixels here have no size on a screen.

    The default is our choice, no source gives a number for this task: nobody hurries an annotator, and .1, where 4.5 %
    of the clicks on a disc miss, would be the hurried hand. At .05 it is 1.2 %, and far more on the thin regions that a
    nearly right mask leaves. RClicks lets clicks lie beside a region by a Gaussian of 5 pixels in a picture of 500 x 500
    (rclicks/clickmap.py): that is .05 for a region of 100 x 100."""
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that the user takes the wrong button: the right place, the other sign. Our choice: no source gives a
    rate."""
    rounds: Annotated[int, Field(ge=0, le=20)] = 3
    """Most turns after the first in training. 3 as in RITM."""

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
        region = deeper.region()
        intended = _intend(deeper, region, rng)
        sigma = self.jitter * sqrt(np.count_nonzero(region))
        clicked = {(click.y, click.x) for click in clicks}
        y, x = intended
        for _ in range(_TRIES):
            y, x = _move(intended, sigma, target.shape, rng)
            if (y, x) not in clicked and (ignore is None or not ignore[y, x]):
                break
        else:
            y, x = intended
        means = deeper is missed
        return (Click(y, x, means != (rng.random() < self.wrong)),)


def _intend(found: Depths, region: BoolMask, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a pixel of the region, drawn in proportion to its depth."""
    weights = np.cumsum(np.where(region, found.distance, 0), dtype=np.float64)
    # To the right of equal sums: never on a pixel without weight.
    pixel = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    y, x = divmod(pixel, region.shape[1])
    return found.top + y, found.left + x


def _move(start: tuple[int, int], sigma: float, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """The pixel where a hand of this unsteadiness (pixels, along each axis) lands, inside the picture."""
    y, x = (round(at + sigma * step) for at, step in zip(start, rng.standard_normal(2).tolist(), strict=True))
    return min(max(y, 0), shape[0] - 1), min(max(x, 0), shape[1] - 1)
