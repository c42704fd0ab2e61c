"""The seed's user: anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import errors, uniform
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Random:
    """Clicks anywhere, with equal chance for every pixel.

    The first turn (no clicks yet) does not look at the prediction: one positive click on the object and one negative
    on the background, both outside the ignore band; whichever of the two has no pixel is left out. Every later turn
    is one click on a pixel that is wrong and not clicked yet: positive where the object was missed, negative where
    the mask is too much; () when there is none.
    """

    rounds: Annotated[int, Field(ge=0, le=20)] = 0
    """Most turns after the first in training. 0 in the seed's recipe."""

    def __call__(
        self,
        target: BoolMask,
        prediction: BoolMask | None,
        clicks: Sequence[Click],
        rng: np.random.Generator,
        ignore: BoolMask | None = None,
        others: BoolMask | None = None,
    ) -> tuple[Click, ...]:
        if not clicks:
            background = ~target if ignore is None else ~(target | ignore)
            wanted = target if ignore is None else target & ~ignore
            turn = ((uniform(wanted, rng), True), (uniform(background, rng), False))
            return tuple(Click(*pixel, positive) for pixel, positive in turn if pixel is not None)
        missed, extra = errors(target, prediction, ignore)
        wrong = missed | extra
        for click in clicks:
            wrong[click.y, click.x] = False
        pixel = uniform(wrong, rng)
        return () if pixel is None else (Click(*pixel, bool(missed[pixel])),)
