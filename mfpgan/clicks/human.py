"""A robot that misses like people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mfpgan.clicks.error_regions import errors, uniform
from mfpgan.types import BoolMask, Click


@dataclass(frozen=True)
class Human:
    """TODO"""

    jitter: Annotated[float, Field(ge=0, le=1)] = 0.05
    """TODO"""
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    """TODO"""
    rounds: Annotated[int, Field(ge=0, le=20)] = 3
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
