"""Planted errors: each does the one thing that its name says, and nothing by accident."""

from __future__ import annotations

import numpy as np
import pytest

from mfpgan.diagnosis.planted import PLANTED, blobs, holes, shifted, warped
from mfpgan.metrics import confusion, iou
from mfpgan.types import BoolMask

SEEDS = range(20)


def square(size: int = 96, low: int = 30, high: int = 66) -> BoolMask:
    mask = np.zeros((size, size), np.bool_)
    mask[low:high, low:high] = True
    return mask


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_holes_only_remove_and_blobs_only_add(seed: int) -> None:
    target = square()
    less, more = holes(target, chance(seed)), blobs(target, chance(seed))
    assert not (less & ~target).any()
    assert less.sum() < target.sum()
    assert not (target & ~more).any()
    assert more.sum() > target.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_shifted_keeps_every_pixel_and_goes_15_percent_of_the_size_far(seed: int) -> None:
    moved = shifted(square(), chance(seed))
    assert moved.sum() == 36 * 36
    rows, columns = np.nonzero(moved)
    assert np.hypot(rows.min() - 30, columns.min() - 30) == pytest.approx(0.15 * 36, abs=0.8)  # rounded to pixels


def test_what_is_shifted_out_of_the_picture_is_lost() -> None:
    target = np.zeros((40, 40), np.bool_)
    target[:, :20] = True  # at three of the four edges
    for seed in SEEDS:
        moved = shifted(target, chance(seed))
        assert 0 < moved.sum() <= 40 * 40
        assert moved.sum() != target.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_warped_is_right_on_the_whole_and_wrong_at_the_edge(seed: int) -> None:
    target = square()
    bent = warped(target, chance(seed))
    assert 0.5 < iou(confusion(bent, target)) < 1
    assert bent[44:52, 44:52].all(), "the middle"
    assert not bent[:10].any(), "far away"


@pytest.mark.parametrize("name", PLANTED)
def test_the_same_chance_gives_the_same_mask_and_the_target_stays(name: str) -> None:
    target, before = square(), square()
    first, again, other = (PLANTED[name](target, chance(seed)) for seed in (3, 3, 4))
    assert first.dtype == np.bool_
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(target, before)


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("place", [(0, 0), (20, 20), (39, 59)])
def test_an_object_of_one_pixel_is_no_trouble(name: str, place: tuple[int, int]) -> None:
    target = np.zeros((40, 60), np.bool_)
    target[place] = True
    for seed in SEEDS:
        assert PLANTED[name](target, chance(seed)).shape == (40, 60)


@pytest.mark.parametrize("name", PLANTED)
def test_nor_are_empty_and_full_masks(name: str) -> None:
    for target in (np.zeros((40, 60), np.bool_), np.ones((40, 60), np.bool_)):
        assert PLANTED[name](target, chance(0)).shape == (40, 60)
