"""Which objects belong to which image, as two arrays: a million objects are megabytes, shared by forked workers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Groups(Sequence[Sequence[int]]):
    """For each image the indices of its objects, at least one.

    Args:
        starts: (images + 1,) int64, rising from 0: where the objects of an image begin in `indices`, and the end.
        indices: (objects,) int64, image by image.

    Raises:
        ValueError: the two do not belong together, or an image has no object.
    """

    def __init__(self, starts: NDArray[np.int64], indices: NDArray[np.int64]) -> None:
        if starts[0] != 0 or starts[-1] != len(indices) or (np.diff(starts) < 1).any():
            raise ValueError(f"starts must rise from 0 to {len(indices)}, got {starts}")
        self.starts = starts
        self.indices = indices

    @classmethod
    def of(cls, groups: Sequence[Sequence[int]]) -> Groups:
        """The same groups as arrays; groups that are arrays already come back as they are."""
        if isinstance(groups, Groups):
            return groups
        return cls(
            _starts(np.fromiter(map(len, groups), np.int64, len(groups))),
            np.fromiter(chain.from_iterable(groups), np.int64),
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(images,) int64: number of objects of each."""
        return np.diff(self.starts)

    @property
    def images(self) -> NDArray[np.int64]:
        """(objects,) int64: the image of each entry of `indices`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, images: NDArray[np.int64]) -> Groups:
        """Those images, in that order."""
        lengths = self.lengths[images]
        starts = _starts(lengths)
        places = np.arange(starts[-1]) + np.repeat(self.starts[images] - starts[:-1], lengths)
        return Groups(starts, self.indices[places])

    def where(self, keep: NDArray[np.bool_]) -> Groups:
        """The objects of which `keep`, (objects,) bool in the order of `indices`, is True; images without one vanish."""
        lengths = np.bincount(self.images[keep], minlength=len(self))
        return Groups(_starts(lengths[lengths > 0]), self.indices[keep])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, image: int) -> list[int]: ...
    @overload
    def __getitem__(self, image: slice) -> Groups: ...
    def __getitem__(self, image: int | slice) -> list[int] | Groups:
        if isinstance(image, slice):
            return self.take(np.arange(len(self))[image])
        place = range(len(self))[image]  # raises IndexError, which ends a loop
        objects: list[int] = self.indices[self.starts[place] : self.starts[place + 1]].tolist()
        return objects


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
