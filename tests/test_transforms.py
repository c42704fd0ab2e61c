"""Augmentation as a function of its seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from mfpgan.data.parts import Parts
from mfpgan.data.transforms import Augmentation, draw_window
from mfpgan.photos import read_photo
from mfpgan.types import Sample


def sample(
    height: int = 90, width: int = 140, box: tuple[int, int, int, int] = (20, 30, 50, 90), ignore: bool = False
) -> Sample:
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
    first, again, other = (
        augment(sample(), [7, 5, 3]),
        Augmentation(64)(sample(), [7, 5, 3]),
        augment(sample(), [7, 6, 3]),
    )
    for name in ("image", "target", "ignore"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.image, other.image)


def test_views_are_mirrored_turned_and_recoloured_independently() -> None:
    """Of 400 views, as often as said, and each as often among those that another thing happened to."""
    target = np.zeros((64, 64), bool)
    target[10:50, 8:56] = True
    image = np.full((64, 64, 3), 100, np.uint8)
    image[10:50, 8:32] = 200  # the object's left half is light
    augment, happened = Augmentation(64), []
    for seed in range(400):
        view = augment(Sample("a/1", image, target), [4, seed])
        columns = np.nonzero(view.target)[1]
        right = view.target & (np.arange(64) >= np.median(columns))
        light = view.image.mean(2)
        mirrored = light[right].mean() > light[view.target & ~right].mean()
        happened.append((mirrored, view.ignore.any(), light.max() != 200))
    mirrored, turned, recoloured = np.array(happened).T
    for share, expected in ((mirrored, 0.5), (turned, 0.5), (recoloured, 0.7)):
        assert abs(share.mean() - expected) < 0.1
    for first, second in ((mirrored, turned), (mirrored, recoloured), (turned, recoloured)):
        assert abs(first[second].mean() - first[~second].mean()) < 0.15


def test_mask_and_photo_move_together() -> None:
    augment = Augmentation(96)
    for seed in range(30):
        square = augment(sample(), [0, seed])
        object_color = np.median(square.image[square.target].astype(float), 0)
        outside = ~square.ignore & ~square.target
        assert np.abs(square.image[square.target] - object_color).mean() < 12, seed
        if outside.any():
            assert np.abs(square.image[outside] - object_color).mean() > 25


def test_what_rotation_brings_in_does_not_count() -> None:
    augment = Augmentation(64)
    squares = [augment(sample(ignore=True), [1, seed]) for seed in range(20)]
    turned = [square.ignore[0, 0] and square.ignore[-1, -1] for square in squares]
    assert any(turned)
    assert not all(turned)


def test_the_other_objects_move_like_an_object() -> None:
    rows, columns = np.mgrid[:90, :140]
    box = (rows >= 20) & (rows < 50) & (columns >= 30) & (columns < 90)
    first = box & ((rows < 35) == (columns < 60))  # two quarters of the box: both have its bounds, so both get its crop
    second = box & ~first
    photo, augment = sample().image, Augmentation(64)
    turned = 0
    for seed in range(40):
        square = augment(Sample("a/1", photo, first, None, second), [2, seed])
        swapped = augment(Sample("a/2", photo, second, None, first), [2, seed])
        assert np.array_equal(square.others, swapped.target & ~square.target), seed
        assert np.array_equal(swapped.others, square.target & ~swapped.target), seed
        turned += square.ignore.any()
    assert 10 < turned < 30  # rotated and unrotated views are both among them


def test_what_is_ignored_is_no_other_object() -> None:
    with_band, augment = sample(ignore=True), Augmentation(64)
    touching = np.zeros_like(with_band.target)
    touching[58:70, 30:90] = True  # right below the band
    seen = 0
    for seed in range(40):
        given = Sample("a/1", with_band.image, with_band.target, with_band.ignore, touching)
        square = augment(given, [3, seed])
        assert not (square.others & (square.ignore | square.target)).any(), seed
        seen += square.others.any()
    assert seen > 10


@given(seed=st.integers(0, 2**32 - 1), ignore=st.booleans())
@settings(max_examples=30, deadline=None)
def test_looking_up_the_other_objects_changes_nothing_else(seed: int, ignore: bool) -> None:
    alone = sample(ignore=ignore)
    others = np.zeros_like(alone.target)
    others[:15] = True
    augment = Augmentation(64)
    without = augment(alone, [seed])
    together = augment(Sample("test/1", alone.image, alone.target, alone.ignore, others), [seed])
    assert without.others is None
    for name in ("image", "target", "ignore"):
        assert np.array_equal(getattr(without, name), getattr(together, name))


def disc(folder: Path, name: str = "disc.jpg") -> tuple[Path, np.ndarray]:
    """A light disc on dark ground, cut off at the right and below, where the photo's sides are no multiple of anything."""
    rows, columns = np.mgrid[:401, :513]
    target = np.hypot(rows - 300, columns - 380) < 150
    image = np.where(target[:, :, None], np.uint8(220), np.uint8(30)).repeat(3, 2)
    PillowImage.fromarray(image).save(folder / name, quality=95, subsampling=0)
    return folder / name, target


def test_a_photo_decoded_smaller_stays_under_its_mask(tmp_path: Path) -> None:
    path, target = disc(tmp_path)
    augment = Augmentation(48)
    others = ~target
    others[:, :200] = False
    used = Counter()
    for seed in range(60):

        def photo(reduction: int) -> np.ndarray:
            used[reduction] += 1
            return read_photo(path, reduction)

        view = augment.view(Parts("a/1", target, None, photo), others, [seed])
        valid = ~view.ignore
        grey = view.image.mean(2)
        dark, light = np.percentile(grey[valid], [2, 98])
        seen = (grey > (dark + light) / 2) & valid
        shift = np.array(np.nonzero(seen)).mean(1) - np.array(np.nonzero(view.target)).mean(1)
        assert np.abs(shift).max() < 0.2, (seed, shift)
        assert (seen ^ view.target).mean() < 0.02
        assert not (view.others & view.target).any()
    assert used.keys() == {4, 8}  # crops of 250 to 401 pixels for 48


def test_the_reduction_leaves_the_crop_as_many_pixels_as_the_square(tmp_path: Path) -> None:
    path, target = disc(tmp_path)
    for size, most in ((32, 8), (64, 4), (130, 2), (256, 1)):
        asked: list[int] = []

        def photo(reduction: int, asked: list[int] = asked) -> np.ndarray:
            asked.append(reduction)
            return read_photo(path, reduction)

        for seed in range(20):
            Augmentation(size).view(Parts("a/1", target, None, photo), None, [seed])
        assert max(asked) == most
        window = draw_window(target, size, np.random.default_rng([0]))
        side = min(window.bottom - window.top, window.right - window.left)
        assert side >= asked[0] * size or asked[0] == 1
        assert side < 2 * asked[0] * size or asked[0] == 8


def test_a_photo_that_only_comes_whole_is_cropped_as_ever(tmp_path: Path) -> None:
    _, target = disc(tmp_path)
    path, _ = disc(tmp_path, "disc.png")
    whole = Sample("a/1", read_photo(path), target)
    for seed in range(5):
        view = Augmentation(32).view(Parts("a/1", target, None, lambda r: read_photo(path, r)), None, [seed])
        assert np.array_equal(view.image, Augmentation(32)(whole, [seed]).image)
        assert np.array_equal(view.target, Augmentation(32)(whole, [seed]).target)
