"""Which object stands at which position of a run: a function of (seed, position), found in milliseconds anywhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.policy import repeat_factors
from mfpgan.types import DataSet

ORDER_STREAM, OBJECT_STREAM, REPLACEMENT_STREAM, ROUNDING_STREAM, REPEAT_STREAM = 1, 2, 12, 13, 14
"""Third entry of a seed: keeps the streams of chance apart."""
_WHOLE = 2**32
"""One, in the whole numbers that repeat factors are counted in: sums of floats would depend on their order."""


class Place(NamedTuple):
    """What stands at a position."""

    image: int
    """Index into `objects_of_image`."""
    number: int
    """Of the object, in the data set."""


class Order:
    """The endless sequence of objects: epoch after epoch every image once, with one random object of it.

    Args:
        data: whose objects.
        seed: the run's seed.
        objects_per_image: so many positions in a row share an image, so that it is decoded once; their objects differ as
            far as it has so many, and then come again.
        repeat_threshold: t of `repeat_factors`, 0: none. An image with factor 2.3 comes twice in every epoch, and in 30 % of
            the epochs a third time.

    Raises:
        InputError: repeat factors of a data set that knows no categories.
    """

    def __init__(self, data: DataSet, seed: int, objects_per_image: int = 1, repeat_threshold: float = 0.0) -> None:
        self._groups = data.objects_of_image
        self._seed = seed
        self._objects_per_image = objects_per_image
        factors = repeat_factors(data, repeat_threshold) if repeat_threshold else np.ones(len(self._groups))
        self._times = np.floor(factors).astype(np.int64)
        self._shares = ((factors - self._times) * _WHOLE).astype(np.int64)
        self._times_sum, self._shares_sum = int(self._times.sum()), int(self._shares.sum())
        self._offsets = self._ends = np.zeros(0, np.int64)
        """Of each epoch, as far as anybody asked: the start of its marks, and the number of images up to its end."""
        self._epoch: tuple[int, NDArray[np.int64]] | None = None

    @property
    def shares_images(self) -> bool:
        """Whether several positions read one photo."""
        return self._objects_per_image > 1

    @property
    def images_per_epoch(self) -> float:
        """Mean over the epochs, repeated images counted as often as they come; an epoch has at most one more or less."""
        return self._times_sum + self._shares_sum / _WHOLE

    def at(self, position: int, attempt: int = 0) -> Place:
        """What stands at a position of the run.

        Args:
            attempt: 1, 2, ... for other images, drawn from all of them, in place of one that cannot be read.
        """
        group, number = divmod(position, self._objects_per_image)
        if attempt:
            rng = np.random.default_rng([self._seed, group, REPLACEMENT_STREAM, attempt])
            image = int(rng.integers(len(self._groups)))
        else:
            image = self._image(group)
        objects = self._groups[image]
        rng = np.random.default_rng([self._seed, group, OBJECT_STREAM])
        if self._objects_per_image == 1:
            chosen = int(rng.integers(len(objects)))
        else:
            chosen = int(rng.permutation(len(objects))[number % len(objects)])
        return Place(image, int(objects[chosen]))

    def _image(self, group: int) -> int:
        """Number `group` in the endless sequence of images."""
        epoch, place = self._epoch_of(group)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._images_of(epoch)
        return int(self._epoch[1][place])

    def _epoch_of(self, group: int) -> tuple[int, int]:
        if not self._shares_sum:
            return divmod(group, self._times_sum)
        while not len(self._ends) or self._ends[-1] <= group:
            epochs = max(1024, 2 * len(self._ends))
            # The beginning of a longer table is the shorter table.
            chance = np.random.default_rng([self._seed, 0, ROUNDING_STREAM]).random(epochs)
            self._offsets = (chance * _WHOLE).astype(np.int64)
            self._ends = np.cumsum(self._times_sum + _marks_below(np.int64(self._shares_sum), self._offsets))
        epoch = int(np.searchsorted(self._ends, group, side="right"))
        return epoch, group - (int(self._ends[epoch - 1]) if epoch else 0)

    def _images_of(self, epoch: int) -> NDArray[np.int64]:
        """The images of an epoch in their order.

        Factors are rounded up or down with the right probability by systematic sampling: the fractions are laid end to end
        in a random order, and an image comes once more if a mark falls on its own, the marks one apart from a random
        start. Rounding each image by itself, as the paper does, makes the length of an epoch known only when all of its
        chance is drawn; so it is known from one number, and position 10 million is found without the epochs before it.
        """
        times = self._times.copy()
        if self._shares_sum:
            mixed = np.random.default_rng([self._seed, epoch, REPEAT_STREAM]).permutation(len(times))
            marks = _marks_below(np.cumsum(self._shares[mixed]), self._offsets[epoch])
            times[mixed] += np.diff(marks, prepend=0)
        images = np.repeat(np.arange(len(times)), times)
        return images[np.random.default_rng([self._seed, epoch, ORDER_STREAM]).permutation(len(images))]


def _marks_below(end: NDArray[np.int64] | np.int64, offset: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """How many of the numbers offset, offset + 1, offset + 2, ... lie below `end`, all of them in units of `_WHOLE`."""
    return np.asarray((end - offset + _WHOLE - 1) // _WHOLE)
