"""Drawn shapes: a function of (seed, index), at once."""

from __future__ import annotations

import numpy as np
import pytest

from mfpgan.data.synthetic import SyntheticDataSet
from mfpgan.types import InputError


def test_every_object_is_visible_and_belongs_to_one_image() -> None:
    data = SyntheticDataSet(images=64, size_px=32)
    assert [index for objects in data.objects_of_image for index in objects] == list(range(len(data)))
    assert {len(objects) for objects in data.objects_of_image} == {2, 3, 4}
    for objects in data.objects_of_image:
        samples = [data[index] for index in objects]
        assert all(sample.target.sum() >= 16 for sample in samples)
        assert not (sum(sample.target.astype(int) for sample in samples) > 1).any()
        assert all((sample.image == samples[0].image).all() for sample in samples)


def test_same_index_same_picture_and_splits_differ() -> None:
    train, again, val = SyntheticDataSet("train"), SyntheticDataSet("train"), SyntheticDataSet("val")
    assert (train[5].image == again[5].image).all()
    assert (train[5].target == again[5].target).all()
    assert train[0].image.shape == (128, 128, 3)
    assert not np.array_equal(train[0].image, val[0].image)
    assert train.digest() == again.digest() != val.digest()
    assert (SyntheticDataSet(images=3)[0].image == train[0].image).all()  # the number of images changes none of them


def test_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="no split 'dev'"):
        SyntheticDataSet("dev")
    with pytest.raises(ValueError, match="32 pixels"):
        SyntheticDataSet(size_px=8)


def test_the_other_objects_are_all_the_visible_rest() -> None:
    data = SyntheticDataSet(images=16, size_px=32)
    for objects in reversed(data.objects_of_image):  # not the order of drawing: what is remembered must not matter
        targets = [data[index].target for index in objects]
        for index, target in zip(objects, targets, strict=True):
            assert (data.others(index) == (np.any(targets, axis=0) & ~target)).all()


def test_a_sample_belongs_to_its_reader() -> None:
    data = SyntheticDataSet(images=1)
    data[0].image[:] = 0
    assert data[0].image.any()
