"""The field's training user: many clicks at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import errors, uniform
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Multi:
    """TODO"""

    points: Annotated[int, Field(ge=1, le=100)] = 24
    """Most points of a sign."""
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    """TODO"""
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
        raise NotImplementedError
