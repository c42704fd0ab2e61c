"""What a data set may know of its objects without reading a pixel."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import DataSet


class Facts(NamedTuple):
    """One entry an object of the data set, in its order."""

    area_px: NDArray[np.float32]
    """(objects,) float32: pixels of the photo."""
    category: NDArray[np.int32]
    """(objects,) int32: index into `categories`, -1 where there is none."""
    categories: tuple[str, ...] = ()
    """Names, also of categories without an object; empty if the data set knows none."""
    frequency: tuple[str, ...] = ()
    """For each category LVIS's "r", "c" or "f" (rare: in up to 10 training images, common: up to 100, frequent), or ""."""

    def take(self, objects: NDArray[np.int64]) -> Facts:
        """The facts of those objects."""
        return self._replace(area_px=self.area_px[objects], category=self.category[objects])


@runtime_checkable
class HasFacts(Protocol):
    """A data set that may know them."""

    def facts(self) -> Facts | None:
        """The facts, or None."""
        ...


def facts_of(data: DataSet) -> Facts | None:
    """What a data set knows of its objects, or None."""
    return data.facts() if isinstance(data, HasFacts) else None
