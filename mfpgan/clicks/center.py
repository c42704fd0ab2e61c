"""The benchmark's robot: the middle of the deepest error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import deepest, errors
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Center:
    """The field's robot (RITM, isegm/inference/clicker.py): one click in the middle of the deepest error.

    Positive if and only if the missed part is strictly deeper than the surplus; depths are compared after the clicked
    pixels were taken out. No chance is used; () when no wrong pixel is left unclicked.
    """

    rounds: Annotated[int, Field(ge=0, le=20)] = 3
    """Most turns after the first in training. 3 as in RITM's iterative training."""

    def __call__(
        self,
        target: BoolMask,
        prediction: BoolMask | None,
        clicks: Sequence[Click],
        rng: np.random.Generator,
        ignore: BoolMask | None = None,
        others: BoolMask | None = None,
    ) -> tuple[Click, ...]:
        missed, extra = errors(target, prediction, ignore)
        missed_depth, missed_y, missed_x = deepest(missed, clicks)
        extra_depth, extra_y, extra_x = deepest(extra, clicks)
        if missed_depth > extra_depth:
            return (Click(missed_y, missed_x, True),)
        return (Click(extra_y, extra_x, False),) if extra_depth else ()
