"""Objects by image as two arrays: a sequence of lists to everybody else."""

from __future__ import annotations

import numpy as np
import pytest

from mfpgan.data.groups import Groups

LISTS = [[4, 0], [7], [1, 2, 3]]


def test_it_reads_like_the_lists_it_is_made_of() -> None:
    groups = Groups.of(LISTS)
    assert (len(groups), list(groups), groups[-1], list(groups[1:])) == (3, LISTS, [1, 2, 3], LISTS[1:])
    assert type(groups[2][0]) is int, "as JSON and f-strings expect it"
    with pytest.raises(IndexError):
        groups[3]
    assert groups.lengths.tolist() == [2, 1, 3]
    assert groups.images.tolist() == [0, 0, 1, 2, 2, 2]
    assert Groups.of(groups) is groups


def test_some_images_and_some_objects() -> None:
    groups = Groups.of(LISTS)
    assert list(groups.take(np.array([2, 0]))) == [[1, 2, 3], [4, 0]]
    keep = np.array([True, False, False, True, False, True])
    assert list(groups.where(keep)) == [[4], [1, 3]]
    assert len(groups.where(np.zeros(6, bool))) == 0


def test_an_image_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="rise from 0 to 2"):
        Groups.of([[0], [], [1]])
    with pytest.raises(ValueError, match="rise from 0 to 3"):
        Groups(np.array([0, 2]), np.arange(3))
