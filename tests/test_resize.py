"""Resizing keeps masks in place and objects alive."""

from __future__ import annotations

import numpy as np

from mfpgan.data.resize import resize_mask, resize_sample
from mfpgan.types import Sample


def test_area_resampling_does_not_shift_a_disc() -> None:
    y, x = np.mgrid[:427, :640]
    disc = (y - 200) ** 2 + (x - 320) ** 2 <= 150**2
    small_y, small_x = (np.mgrid[:256, :256] + 0.5) * np.array([427 / 256, 640 / 256])[:, None, None] - 0.5
    exact = (small_y - 200) ** 2 + (small_x - 320) ** 2 <= 150**2
    small = resize_mask(disc, 256, 256)
    assert (small & exact).sum() / (small | exact).sum() > 0.995


def test_half_a_pixel_is_enough_and_less_is_not() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:, 0] = True
    assert resize_mask(mask, 2, 2).tolist() == [[True, False], [True, False]]
    mask[:, 0] = [True, False, False, False]
    assert not resize_mask(mask, 2, 2).any()
    assert resize_mask(mask, 2, 2, keep=True).tolist() == [[True, False], [False, False]]


def test_no_object_vanishes() -> None:
    mask = np.zeros((1000, 1000), bool)
    mask[777, 333] = True
    small = resize_mask(mask, 32, 32, keep=True)
    assert np.argwhere(small).tolist() == [[777 * 32 // 1000, 333 * 32 // 1000]]


def test_resizing_keeps_edges_and_the_ignore_band():
    target, ignore = np.zeros((512, 1024), bool), np.zeros((512, 1024), bool)
    target[100:300, 400:800] = ignore[:50] = True
    image = np.full((512, 1024, 3), 7, np.uint8)
    small = resize_sample(Sample("a/0", image, target, ignore), 256, 256)
    assert small.image.shape == (256, 256, 3)
    assert (small.image == 7).all()
    expected = np.zeros((256, 256), bool)
    expected[50:150, 100:200] = True
    np.testing.assert_array_equal(small.target, expected)
    assert small.ignore.sum() == 25 * 256


def test_a_vanishing_object_keeps_its_best_pixel():
    target = np.zeros((1024, 1024), bool)
    target[400, 101] = target[800:802, 202] = True
    small = resize_sample(Sample("a/0", np.zeros((1024, 1024, 3), np.uint8), target, ~target), 256, 256)
    assert np.argwhere(small.target).tolist() == [[200, 50]]
    assert not small.ignore[200, 50]


def test_enlarging_keeps_straight_edges_where_they_are() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :3] = True
    large = resize_mask(mask, 64, 64)
    assert large[:, :24].all()
    assert not large[:, 24:].any()


def test_the_other_objects_give_way_to_the_object_and_to_the_ignore_band() -> None:
    target, ignore, others = (np.zeros((4, 8), bool) for _ in range(3))
    target[:, :1] = True
    others[:, 1:5] = True
    ignore[:, 5:] = True
    small = resize_sample(Sample("a/0", np.zeros((4, 8, 3), np.uint8), target, ignore, others), 2, 4)
    # The first and the third pixel are shared half and half: the object wins, and so does the ignore band.
    assert small.target.tolist() == [[True, False, False, False]] * 2
    assert small.ignore.tolist() == [[False, False, True, True]] * 2
    assert small.others.tolist() == [[False, True, False, False]] * 2
