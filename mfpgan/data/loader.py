"""Batches by position: what stands at step 1,000 is a function of (seed, 1,000), whoever reads it and in what order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mfpgan.data.resize import resize_sample
from mfpgan.data.transforms import Augmentation
from mfpgan.types import Batch, DataSet, InputError, Sample

ORDER_STREAM, OBJECT_STREAM, AUGMENTATION_STREAM = 1, 2, 3
"""Third entry of a seed: keeps the streams of chance apart."""


class Positions(Dataset[Sample | InputError]):
    """The endless sequence of training samples: epoch after epoch, every image once, with one random object of it.

    Args:
        data: what to read.
        seed: the run's seed.
        size: side of the squares, in pixels.
        others: look up the image's other objects as well; changes nothing else.
    """

    def __init__(self, data: DataSet, seed: int, size: int, others: bool = False) -> None:
        self.data = data
        self.others = others
        self.seed = seed
        self.augment = Augmentation(size)
        self.images = data.objects_of_image
        self._order: tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None

    def object_at(self, position: int) -> int:
        """Index in the data set of the object at this position of the run."""
        epoch, place = divmod(position, len(self.images))
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch, ORDER_STREAM])
            self._order = (epoch, rng.permutation(len(self.images)))
        objects = self.images[int(self._order[1][place])]
        rng = np.random.default_rng([self.seed, position, OBJECT_STREAM])
        return int(objects[int(rng.integers(len(objects)))])

    def __getitem__(self, position: int) -> Sample | InputError:
        try:
            index = self.object_at(position)
            sample = with_others(self.data, index) if self.others else self.data[index]
        except InputError as error:  # raised here, a worker would wrap it in a page of its own
            return error
        return self.augment(sample, [self.seed, position, AUGMENTATION_STREAM])


def with_others(data: DataSet, index: int) -> Sample:
    """Object number `index` with `others`: without what it covers itself, and without ignored pixels.

    Raises:
        InputError: a photo or an annotation cannot be read.
    """
    sample = data[index]
    others = data.others(index) & ~sample.target
    if sample.ignore is not None:
        others &= ~sample.ignore
    return replace(sample, others=others)


def training_batches(
    data: DataSet, *, seed: int, size: int, batch_size: int, steps: range, workers: int, others: bool = False
) -> Iterator[Batch]:
    """The batches of the given steps, in order; the number of workers does not change a pixel.

    Args:
        steps: first step and end; a resumed run starts where it stopped.
        workers: reading processes; 0 reads in this one.
        others: fill `Batch.others`, for users who click on other objects; no other field depends on it.

    Raises:
        InputError: a photo or an annotation cannot be read.
    """
    # Pictures this small gain nothing from OpenCV's threads, and a pool alive at the fork would hang the workers.
    cv2.setNumThreads(1)
    positions = range(steps.start * batch_size, steps.stop * batch_size)
    loader = DataLoader(
        Positions(data, seed, size, others),
        batch_size=batch_size,
        sampler=positions,
        num_workers=workers,
        collate_fn=_collate_or_error,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # its own: the loader would otherwise draw from the networks' stream
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _collate_or_error(items: Sequence[Sample | InputError]) -> Batch | InputError:
    samples = [item for item in items if isinstance(item, Sample)]
    errors = [item for item in items if isinstance(item, InputError)]
    return errors[0] if errors else collate(samples)


def validation_batches(data: DataSet, objects: Sequence[int], *, size: int, batch_size: int) -> Iterator[Batch]:
    """Whole photos as squares, not augmented, in the order of `objects`."""
    for start in range(0, len(objects), batch_size):
        samples = [data[index] for index in objects[start : start + batch_size]]
        yield collate([resize_sample(sample, size, size) for sample in samples])


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size to a batch on the CPU; with `others` if every sample has them."""
    image = torch.from_numpy(np.stack([sample.image for sample in samples]))
    ignore = [np.zeros_like(sample.target) if sample.ignore is None else sample.ignore for sample in samples]
    others = [sample.others for sample in samples if sample.others is not None]
    return Batch(
        tuple(sample.id for sample in samples),
        # A view: (B, 3, H, W) in channels-last memory, which is how the networks hold it.
        image.permute(0, 3, 1, 2).float().div_(255),
        torch.from_numpy(np.stack([sample.target for sample in samples])).unsqueeze(1).float(),
        torch.from_numpy(~np.stack(ignore)).unsqueeze(1).float(),
        torch.from_numpy(np.stack(others)).unsqueeze(1) if len(others) == len(samples) else None,
    )


def default_workers() -> int:
    """Loader processes on this machine: on up to 2 cores they would take the network's own, beyond that a core each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores <= 2 else min(cores - 1, 8)
