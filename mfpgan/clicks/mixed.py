"""The strong recipe's user: many clicks at once, then clicks that follow the mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.adaptive import Adaptive
from mfpgan.clicks.multi import Multi
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Mixed:
    """A first turn of `multi`, then turns of `adaptive` (RITM: Sofiiuk et al., ICIP 2022, iterative training).

    Only the parameters worth turning stand here too; the rest have the defaults of those two.
    """

    uses_others: ClassVar[bool] = True
    points: Annotated[int, Field(ge=1, le=100)] = 24
    """As in `multi`."""
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    """As in `multi`."""
    spread: Annotated[float, Field(ge=0, le=1)] = 0.5
    """As in `adaptive`."""
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
        turn = Adaptive(spread=self.spread) if clicks else Multi(points=self.points, ratio=self.ratio)
        return turn(target, prediction, clicks, rng, ignore, others)
