"""Resizing that keeps masks in place, and augmentation as a function of its seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfpgan.data.transforms import Augmentation, draw_window, resize_mask, resize_sample
from mfpgan.types import Sample


def sample(height: int = 90, width: int = 140, box: tuple[int, int, int, int] = (20, 30, 50, 90), ignore: bool = False) -> Sample:
    top, left, bottom, right = box
    target = np.zeros((height, width), bool)
    target[top:bottom, left:right] = True
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image[target] = (255, 0, 0)
    band = None
    if ignore:
        band = np.zeros_like(target)
        band[bottom : bottom + 8] = True
    return Sample("test/1", image, target, band)


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


def test_whole_photo_as_a_square() -> None:
    square = resize_sample(sample(ignore=True), 64)
    assert square.image.shape == (64, 64, 3)
    share = square.target.mean()
    assert share == pytest.approx(30 * 60 / (90 * 140), rel=0.05)
    assert not square.valid.all()
    assert square.valid[square.target].all()


@given(
    top=st.integers(0, 80), left=st.integers(0, 130), height=st.integers(1, 90), width=st.integers(1, 140),
    seed=st.integers(0, 2**32 - 1), size=st.sampled_from([32, 64, 256]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_window_holds_the_object_and_stays_in_the_photo(
    top: int, left: int, height: int, width: int, seed: int, size: int
) -> None:
    target = np.zeros((90, 140), bool)
    target[top : top + height, left : left + width] = True
    ys, xs = np.nonzero(target)
    window = draw_window(target, size, np.random.default_rng(seed))
    assert 0 <= window.top <= ys.min()
    assert ys.max() < window.bottom <= 90
    assert 0 <= window.left <= xs.min()
    assert xs.max() < window.right <= 140


def test_the_same_seed_gives_the_same_square_and_another_seed_another() -> None:
    augment = Augmentation(64)
    first, again, other = augment(sample(), [7, 5, 3]), Augmentation(64)(sample(), [7, 5, 3]), augment(sample(), [7, 6, 3])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.image, other.image)


def test_mask_and_photo_move_together() -> None:
    augment = Augmentation(96)
    for seed in range(30):
        square = augment(sample(), [0, seed])
        object_color = np.median(square.image[square.target].astype(float), 0)
        outside = square.valid & ~square.target
        assert square.target.any()
        assert square.valid[square.target].all()
        spread = np.ptp(square.image[square.target].astype(int), 0).mean()
        assert np.abs(square.image[square.target] - object_color).mean() < 12, (seed, spread)
        if outside.any():
            assert np.abs(square.image[outside] - object_color).mean() > 25


def test_what_rotation_brings_in_does_not_count() -> None:
    augment = Augmentation(64)
    squares = [augment(sample(ignore=True), [1, seed]) for seed in range(20)]
    assert any(not square.valid.all() for square in squares)
    assert all(square.valid[square.target].all() for square in squares)
