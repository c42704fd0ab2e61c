"""Some images or objects of a data set, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.facts import Facts, facts_of
from mfpgan.data.groups import Groups
from mfpgan.data.parts import Parts, parts_of
from mfpgan.types import BoolMask, DataSet, InputError, Sample

HELD_OUT_SHARE = 20
"""One image in so many is held out where no validation data exists."""
HELD_OUT_MOST = 64
_DIGEST_STEP = 65_536


class Subset:
    """The objects of chosen images, or some of them; same order as `images`.

    Args:
        data: the whole.
        images: indices into `data.objects_of_image`; None: all.
        name: of the part.
        keep: (objects of the whole,) bool: which objects, None: all; images without one vanish.
    """

    def __init__(
        self,
        data: DataSet,
        images: Sequence[int] | NDArray[np.int64] | None,
        name: str,
        keep: NDArray[np.bool_] | None = None,
    ) -> None:
        self.name = name
        self._data = data
        groups = Groups.of(data.objects_of_image)
        if images is not None:
            groups = groups.take(np.asarray(images, np.int64))
        if keep is not None:
            groups = groups.where(keep[groups.indices])
        self._objects = groups.indices
        self._groups = Groups(groups.starts, np.arange(len(groups.indices)))

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> Sample:
        return self._data[int(self._objects[index])]

    def others(self, index: int) -> BoolMask:
        """As of the whole: objects that were not chosen lie in the photo all the same."""
        return self._data.others(int(self._objects[index]))

    def parts(self, index: int) -> Parts:
        return parts_of(self._data, int(self._objects[index]))

    def facts(self) -> Facts | None:
        known = facts_of(self._data)
        return None if known is None else known.take(self._objects)

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        return self._groups

    def digest(self) -> str:
        # The text of a list of a million numbers, piece by piece.
        chosen = hashlib.sha256(f"{self._data.digest()} [".encode())
        for start in range(0, len(self._objects), _DIGEST_STEP):
            numbers = map(str, self._objects[start : start + _DIGEST_STEP].tolist())
            chosen.update(f"{', ' if start else ''}{', '.join(numbers)}".encode())
        chosen.update(b"]")
        return chosen.hexdigest()[:16]


def hold_out(data: DataSet) -> tuple[DataSet, DataSet]:
    """Two parts without a common image: for training, and one image in 20 (64 at most) for validation.

    The same in every run, whatever its seed, so that runs of several seeds compare.

    Raises:
        InputError: there is only one image.
    """
    count = len(data.objects_of_image)
    if count < 2:
        raise InputError(
            f"{data.name}: {count} image cannot be split into training and validation; give --val-data, or --val-data none."
        )
    order = np.random.default_rng([0, 0]).permutation(count)
    held = min(max(1, count // HELD_OUT_SHARE), HELD_OUT_MOST)
    validation, training = np.sort(order[:held]), np.sort(order[held:])
    return Subset(data, training, data.name), Subset(data, validation, f"{data.name}, held out")


def spread(total: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to total - 1, evenly spread, both ends among them."""
    numbers: list[int] = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int)).tolist()
    return numbers
