"""Batches by position: what stands at step 1,000 is a function of (seed, 1,000), whoever reads it and in what order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mfpgan.data.columns import DamagedError
from mfpgan.data.order import Order
from mfpgan.data.parts import parts_of
from mfpgan.data.resize import resize_sample
from mfpgan.data.transforms import Augmentation
from mfpgan.types import Batch, BoolMask, DataSet, InputError, Sample, Skipped

AUGMENTATION_STREAM = 3
"""Third entry of a seed, beside the streams of `order`."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MOST_ATTEMPTS = 20
"""Images tried for one position. With 1 % of them unreadable, where training stops, so many in a row never happen."""


class Drawn(NamedTuple):
    """What was read for a position."""

    sample: Sample | None
    """None if nothing could be read."""
    skipped: tuple[Skipped, ...]
    """What could not be read before it."""
    damage: str = ""
    """Why nothing more can be read."""

    def error(self) -> InputError:
        """Why there is no sample."""
        if self.damage:
            return InputError(self.damage)
        return InputError(
            f"{len(self.skipped)} images in a row could not be read; `mfpgan data check` lists what is wrong. The first: "
            f"{self.skipped[0].sentence}"
        )


class Positions(Dataset[Drawn]):
    """The endless sequence of training samples. An object that cannot be read is skipped: another image takes its place, a
    function of (seed, position) too.

    Args:
        data: what to read.
        order: which object stands where.
        seed: the run's seed.
        size: side of the squares, in pixels.
        others: look up the image's other objects as well; changes nothing else.
    """

    def __init__(self, data: DataSet, order: Order, seed: int, size: int, others: bool = False) -> None:
        self.data = data
        self.order = order
        self.others = others
        self.seed = seed
        self.augment = Augmentation(size)

    def __getitem__(self, position: int) -> Drawn:
        skipped: list[Skipped] = []
        for attempt in range(MOST_ATTEMPTS):
            image, number = self.order.at(position, attempt)
            try:
                parts = parts_of(self.data, number)
                others = _beside(self.data, number, parts.target, parts.ignore) if self.others else None
                sample = self.augment.view(
                    parts, others, [self.seed, position, AUGMENTATION_STREAM],
                    reduced=not self.order.shares_images,
                )  # fmt: skip
            # Errors are kept as words: a worker would wrap the exception in a page of its own.
            except DamagedError as error:
                # Not this image's fault: to skip what cannot be looked up would change the run.
                return Drawn(None, tuple(skipped), str(error))
            except InputError as error:
                skipped.append(Skipped(image, str(error)))
            else:
                return Drawn(sample, tuple(skipped))
        return Drawn(None, tuple(skipped))


def with_others(data: DataSet, index: int) -> Sample:
    """Object number `index` with `others`: without what it covers itself, and without ignored pixels.

    Raises:
        InputError: a photo or an annotation cannot be read.
    """
    sample = data[index]
    return replace(sample, others=_beside(data, index, sample.target, sample.ignore))


def _beside(data: DataSet, index: int, target: BoolMask, ignore: BoolMask | None) -> BoolMask:
    others = data.others(index) & ~target
    if ignore is not None:
        others &= ~ignore
    return others


def training_batches(
    data: DataSet,
    *,
    seed: int,
    size: int,
    batch_size: int,
    steps: range,
    workers: int,
    others: bool = False,
    order: Order | None = None,
    share: range | None = None,
) -> Iterator[Batch]:
    """The batches of the given steps, in order; the number of workers does not change a pixel.

    Args:
        batch_size: of the whole batch, which fills so many positions a step.
        steps: first step and end; a resumed run starts where it stopped.
        workers: reading processes; 0 reads in this one.
        others: fill `Batch.others`, for users who click on other objects; no other field depends on it.
        order: which object stands where; None: one random object of every image.
        share: which of the samples of every batch are read, for one of several processes; None: all.

    Raises:
        InputError: one image after the other cannot be read. Single ones are named in `Batch.skipped`.
    """
    _one_thread()  # a pool alive at the fork would hang the workers
    loader = DataLoader(
        Positions(data, Order(data, seed) if order is None else order, seed, size, others),
        batch_sampler=_Positions(steps, batch_size, range(batch_size) if share is None else share),
        num_workers=workers,
        collate_fn=_collate_or_error,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # its own: the loader would otherwise draw from the networks' stream
    )
    try:
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"a loader process ended unexpectedly ({str(error).splitlines()[0]}); look for want of memory, and start again "
            "with fewer --workers."
        ) from None


class _Positions(Iterable[list[int]]):
    """The positions of every batch; a list of them would be long in a long run."""

    def __init__(self, steps: range, batch_size: int, share: range) -> None:
        self._steps, self._batch_size, self._share = steps, batch_size, share

    def __iter__(self) -> Iterator[list[int]]:
        for start in (step * self._batch_size for step in self._steps):
            yield [start + item for item in self._share]


def _one_thread() -> None:
    """Pictures this small gain nothing from OpenCV's threads."""
    cv2.setNumThreads(1)


def _start_worker(_: int) -> None:
    """Workers are many: each keeps to one core, also where it is spawned and inherits nothing. And out of the group of the
    process that reads: torchrun and terminals send signals to all of a group, and the step being finished needs its batch."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    _one_thread()
    torch.set_num_threads(1)  # PyTorch's and OpenMP's


def _collate_or_error(items: Sequence[Drawn]) -> Batch | InputError:
    samples = []
    for drawn in items:
        if drawn.sample is None:
            return drawn.error()
        samples.append(drawn.sample)
    return replace(collate(samples), skipped=tuple(skipped for drawn in items for skipped in drawn.skipped))


def validation_batches(data: DataSet, objects: Sequence[int], *, size: int, batch_size: int) -> Iterator[Batch]:
    """Whole photos as squares, not augmented, in the order of `objects`."""
    for start in range(0, len(objects), batch_size):
        samples = [data[index] for index in objects[start : start + batch_size]]
        yield collate([resize_sample(sample, size, size) for sample in samples])


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size to a batch on the CPU; with `others` if every sample has them."""
    shape = len(samples), *samples[0].target.shape
    image, target, valid = torch.empty(*shape, 3), torch.empty(shape), torch.empty(shape)
    for place, sample in enumerate(samples):
        image[place].copy_(torch.from_numpy(sample.image)).div_(255)
        target[place].copy_(_as_tensor(sample.target))
        if sample.ignore is None:
            valid[place] = 1
        else:
            valid[place].copy_(_as_tensor(~sample.ignore))
    others = [sample.others for sample in samples if sample.others is not None]
    return Batch(
        tuple(sample.id for sample in samples),
        # A view: (B, 3, H, W) in channels-last memory, which is how the networks hold it.
        image.permute(0, 3, 1, 2),
        target.unsqueeze(1),
        valid.unsqueeze(1),
        torch.from_numpy(np.stack(others)).unsqueeze(1) if len(others) == len(samples) else None,
    )


def _as_tensor(mask: BoolMask) -> torch.Tensor:
    """(H, W) uint8, 0 or 1: torch turns it into floats much faster than bool."""
    return torch.from_numpy(np.ascontiguousarray(mask).view(np.uint8))


def default_workers() -> int:
    """Loader processes on this machine: on up to 2 cores they would take the network's own, beyond that a core each.

    At most 8: one core reads some 350 samples a second at 256 pixels (experiments/speed/loading.py), so 8 read more than these
    networks train on; and a machine of 64 cores has mostly 8 GPUs, with a run on each. Processes that torchrun starts share
    the cores.
    """
    cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 0 if cores <= 2 else min(cores - 1, 8)


def usable_cores() -> int:
    """Cores that this process may use: under Slurm or in a container fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # a container's share of time, as `docker run --cpus=2` sets it: "200000 100000", or "max 100000"
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
