"""What stands at a position is a function of (seed, position), whoever reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mfpgan.data import open_dataset
from mfpgan.data.columns import DamagedError
from mfpgan.data.folder import FolderDataSet
from mfpgan.data.loader import collate, default_workers, training_batches, validation_batches, with_others
from mfpgan.data.order import Order
from mfpgan.data.subset import Subset, hold_out
from mfpgan.data.transforms import Augmentation
from mfpgan.types import Batch, BoolMask, DataSet, InputError, Sample, Skipped


@pytest.fixture(scope="module")
def data() -> DataSet:
    return Subset(open_dataset("synthetic"), range(12), "synthetic")


def batches(data: DataSet, steps: range, workers: int = 0, seed: int = 0, others: bool = False) -> list[Batch]:
    return list(training_batches(data, seed=seed, size=64, batch_size=3, steps=steps, workers=workers, others=others))


def same(first: Batch, second: Batch) -> bool:
    return first.ids == second.ids and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in ("image", "target", "valid")
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(data: DataSet, workers: int) -> None:
    alone, together = batches(data, range(6)), batches(data, range(6), workers)
    assert len(alone) == len(together) == 6
    assert all(same(*pair) for pair in zip(alone, together, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_several_objects_of_an_image_come_the_same_way_from_anywhere(data: DataSet, workers: int) -> None:
    def some(steps: range, workers: int) -> list[Batch]:
        order = Order(data, 4, objects_per_image=2)
        return list(training_batches(data, seed=4, size=64, batch_size=3, steps=steps, workers=workers, order=order))

    images = [name.split("/")[0] for batch in some(range(8), workers) for name in batch.ids]
    assert images[0::2] == images[1::2]
    assert sorted(images[0::2]) == sorted({part.id.split("/")[0] for part in map(data.__getitem__, range(len(data)))})
    assert all(same(*pair) for pair in zip(some(range(8), workers)[5:], some(range(5, 8), 0), strict=True))


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """Two photos, so that one is often read twice in a row, with a small and a large object each."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        labels = np.zeros((230, 310), np.uint8)
        labels[20:40, 20:50], labels[30:200, 60:300] = 1, 2
        Image.fromarray(rng.integers(0, 256, (230, 310, 3), np.uint8)).save(tmp_path / "images" / f"{number}.jpg")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{number}.png")
    return tmp_path


def test_photos_decoded_smaller_do_not_depend_on_what_was_read_before(jpegs: Path) -> None:
    alone = batches(FolderDataSet(jpegs), range(8))
    assert all(same(*pair) for pair in zip(alone, batches(FolderDataSet(jpegs), range(8), workers=2), strict=True))
    fresh = [batches(FolderDataSet(jpegs), range(step, step + 1))[0] for step in range(8)]
    assert all(same(*pair) for pair in zip(alone, fresh, strict=True))


def test_a_shared_photo_is_decoded_whole(jpegs: Path) -> None:
    data = FolderDataSet(jpegs)
    order = Order(data, 0, objects_per_image=2)
    steps = training_batches(data, seed=0, size=64, batch_size=1, steps=range(8), workers=0, order=order)
    for position, batch in enumerate(steps):
        view = Augmentation(64)(data[order.at(position).number], [0, position, 3])
        assert torch.equal(batch.image, collate([view]).image)


def test_a_run_that_starts_later_sees_the_same(data: DataSet) -> None:
    assert all(same(*pair) for pair in zip(batches(data, range(6))[4:], batches(data, range(4, 6)), strict=True))


def test_epochs_differ_and_seeds_differ(data: DataSet) -> None:
    first, second = batches(data, range(4)), batches(data, range(4, 8))
    assert [b.ids for b in first] != [b.ids for b in second]
    by_id = {name: b.image[i] for b in first for i, name in enumerate(b.ids)}
    again = [(name, b.image[i]) for b in second for i, name in enumerate(b.ids) if name in by_id]
    assert again
    assert not any(torch.equal(by_id[name], image) for name, image in again), "an epoch replayed its augmentations"
    assert not same(first[0], batches(data, range(1), seed=1)[0])


def test_an_epoch_visits_every_image_once_and_in_time_every_object(data: DataSet) -> None:
    order = Order(data, seed=0)
    image_of = {index: image for image, objects in enumerate(data.objects_of_image) for index in objects}
    seen = [order.at(position).number for position in range(12 * 40)]
    for epoch in range(40):
        assert Counter(image_of[index] for index in seen[epoch * 12 : epoch * 12 + 12]) == dict.fromkeys(range(12), 1)
    assert set(seen) == set(range(len(data)))


def test_batches_have_the_shapes_and_ranges_they_promise(data: DataSet) -> None:
    batch = batches(data, range(1))[0]
    assert batch.image.shape == (3, 3, 64, 64)
    assert batch.image.dtype == batch.target.dtype == batch.valid.dtype == torch.float32
    assert 0 <= float(batch.image.min()) < float(batch.image.max()) <= 1
    assert set(batch.target.unique().tolist()) == {0.0, 1.0}


def test_validation_keeps_the_order(data: DataSet) -> None:
    given = [0, 5, 2, 7]
    ids = [name for batch in validation_batches(data, given, size=64, batch_size=3) for name in batch.ids]
    assert ids == [data[index].id for index in given]


def test_held_out_images_are_nobody_elses(data: DataSet) -> None:
    train, validation = hold_out(data)
    ids = [{part[i].id for i in range(len(part))} for part in (train, validation)]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == len(data)
    assert len(validation.objects_of_image) == 1
    assert len({part.digest() for part in (train, validation, data)}) == 3
    with pytest.raises(InputError, match="--val-data"):
        hold_out(Subset(data, [0], "one"))


class Broken:
    """Data whose third object cannot be read."""

    name = "broken"
    objects_of_image = ((0,), (1,), (2,), (3,))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        if index == 2:
            raise InputError("c.jpg: damaged.")
        return open_dataset("synthetic")[index]

    def digest(self) -> str:
        return "0" * 16


class Threads(Broken):
    """Says in its ids how many threads there are where it is read."""

    objects_of_image = ((0,), (1,))

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), id=f"{cv2.getNumThreads()} {torch.get_num_threads()}")


def test_a_worker_keeps_to_one_core() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert batches(Threads(), range(1), workers=1)[0].ids == ("1 1",) * 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 0), (3, 2), (8, 7), (64, 8)])
def test_workers_take_the_cores_that_the_network_leaves(
    cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    assert default_workers() == workers


class Gone(Broken):
    """Nothing can be read."""

    objects_of_image = ((2,), (2,))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_another_image_takes_the_place_of_one_that_cannot_be_read(workers: int) -> None:
    names = [open_dataset("synthetic")[index].id for index in range(4)]
    found, order = batches(Broken(), range(8), workers), Order(Broken(), 0)
    for step, batch in enumerate(found):
        failures = 0
        for position, name in zip(range(3 * step, 3 * step + 3), batch.ids, strict=True):
            attempt = next(attempt for attempt in range(20) if order.at(position, attempt).image != 2)
            assert name == names[order.at(position, attempt).number]
            failures += attempt
        assert batch.skipped == (Skipped(2, "c.jpg: damaged."),) * failures
    assert sum(len(batch.skipped) for batch in found) >= 6, "each of 6 epochs met it"
    assert all(same(*pair) for pair in zip(found, batches(Broken(), range(8)), strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_readable_is_one_sentence(workers: int) -> None:
    with pytest.raises(InputError) as caught:
        batches(Gone(), range(2), workers)
    assert str(caught.value).startswith("20 images in a row could not be read; `mfpgan data check`")
    assert str(caught.value).endswith("The first: c.jpg: damaged.")


class Torn(Gone):
    """The index behind it is damaged."""

    def __getitem__(self, index: int) -> Sample:
        raise DamagedError("a.index: damaged.")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_index_is_not_skipped_over(workers: int) -> None:
    with pytest.raises(InputError, match=r"^a\.index: damaged\.$"):
        batches(Torn(), range(2), workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_other_objects_come_along_and_change_nothing_else(data: DataSet, workers: int) -> None:
    without = batches(data, range(6))
    together = batches(data, range(6), workers, others=True)
    alone = batches(data, range(6), others=True)
    assert all(same(*pair) for pair in zip(without, together, strict=True))
    assert all(batch.others is None for batch in without)
    for batch, twin in zip(together, alone, strict=True):
        assert batch.others.shape == (3, 1, 64, 64)
        assert batch.others.dtype == torch.bool
        assert torch.equal(batch.others, twin.others)
        assert not (batch.others & ((batch.target == 1) | (batch.valid == 0))).any()
    assert sum(bool(mask.any()) for batch in together for mask in batch.others) > 9  # of 18; narrow crops show none


class Overlapping(Broken):
    """One object, half covered by another one, beside an ignore band that the other one reaches too."""

    objects_of_image = ((0,),)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        target, ignore = np.array([[True, True, False, False]]), np.array([[False, False, False, True]])
        return Sample("a/1", np.zeros((1, 4, 3), np.uint8), target, ignore)

    def others(self, index: int) -> BoolMask:
        return np.array([[False, True, True, True]])


def test_the_object_wins_and_nobody_clicks_on_what_is_ignored() -> None:
    assert with_others(Overlapping(), 0).others.tolist() == [[False, False, True, False]]


def test_nothing_is_looked_up_unasked() -> None:
    """`Broken` has no method `others`."""
    assert batches(Subset(Broken(), [0, 1], "two"), range(1))[0].others is None


def test_a_part_knows_the_other_objects_of_the_whole(data: DataSet) -> None:
    part = Subset(data, [3, 1], "two")
    whole = [index for image in (3, 1) for index in data.objects_of_image[image]]
    for index, original in enumerate(whole):
        assert (part.others(index) == data.others(original)).all()
