"""Some images of a data set, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from mfpgan.types import BoolMask, DataSet, InputError, Sample

HELD_OUT_SHARE = 20
"""One image in so many is held out where no validation data exists."""
HELD_OUT_MOST = 64


class Subset:
    """The objects of chosen images; same order as `images`.

    Args:
        data: the whole.
        images: indices into `data.objects_of_image`.
        name: of the part.
    """

    def __init__(self, data: DataSet, images: Sequence[int], name: str) -> None:
        self.name = name
        self._data = data
        self._objects: list[int] = []
        self._groups: list[range] = []
        for image in images:
            objects = data.objects_of_image[image]
            self._groups.append(range(len(self._objects), len(self._objects) + len(objects)))
            self._objects += objects

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> Sample:
        return self._data[self._objects[index]]

    def others(self, index: int) -> BoolMask:
        return self._data.others(self._objects[index])

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        return self._groups

    def digest(self) -> str:
        chosen = f"{self._data.digest()} {self._objects}".encode()
        return hashlib.sha256(chosen).hexdigest()[:16]


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
    validation, training = sorted(order[:held].tolist()), sorted(order[held:].tolist())
    return Subset(data, training, data.name), Subset(data, validation, f"{data.name}, held out")


def spread(total: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to total - 1, evenly spread, both ends among them."""
    numbers: list[int] = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int)).tolist()
    return numbers
