"""A sample in parts: the mask first, the photo when it is known how much of it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from mfpgan.types import BoolMask, DataSet, Image, Sample


class Parts(NamedTuple):
    """One object in one image, its photo not decoded yet. Mask and ignore band are at the photo's full size."""

    id: str
    target: BoolMask
    """(H, W) bool, True on the object; at least one pixel is."""
    ignore: BoolMask | None
    """(H, W) bool or None, as in `Sample`."""
    photo: Callable[[int], Image]
    """photo(reduction), reduction 1, 2, 4 or 8: (ceil(H / reduction), ceil(W / reduction), 3) uint8 RGB, or the whole photo
    where its format has no reduced form. Raises InputError as `DataSet[index]` does. Not the caller's own: do not write."""

    def whole(self) -> Sample:
        """The sample, with a photo of its own."""
        return Sample(self.id, self.photo(1).copy(), self.target, self.ignore)


@runtime_checkable
class InParts(Protocol):
    """A data set that saves time when it is asked for parts."""

    def parts(self, index: int) -> Parts:
        """Object number `index`; `parts(index).whole()` equals `[index]`. Raises InputError as `[index]` does."""
        ...


def parts_of(data: DataSet, index: int) -> Parts:
    """Object number `index` of any data set in parts."""
    if isinstance(data, InParts):
        return data.parts(index)
    sample = data[index]
    return Parts(sample.id, sample.target, sample.ignore, lambda _: sample.image)
