"""Depths and ties against a reading of the definition that knows no distance transform."""

import numpy as np
import pytest

from mfpgan.clicks.error_regions import deepest, depths, errors, uniform
from mfpgan.types import Click


def brute_depths(mask, clicks=()):
    """The definition: for each pixel, the squared distance to the nearest pixel that is outside the mask or picture;
    0 outside the mask and on a click."""
    height, width = mask.shape
    outside = [
        (y, x)
        for y in range(-1, height + 1)
        for x in range(-1, width + 1)
        if not (0 <= y < height and 0 <= x < width and mask[y, x])
    ]
    outside = np.array(outside)
    clicked = {(click.y, click.x) for click in clicks}
    squared = np.zeros(mask.shape, int)
    for y, x in np.ndindex(mask.shape):
        if mask[y, x] and (y, x) not in clicked:
            squared[y, x] = ((outside - (y, x)) ** 2).sum(1).min()
    return squared


def brute_deepest(mask, clicks=()):
    """(squared depth, y, x) of the first deepest pixel, zeros if there is none."""
    squared = brute_depths(mask, clicks)
    y, x = divmod(int(squared.argmax()), mask.shape[1])
    return (int(squared[y, x]), y, x) if squared.any() else (0, 0, 0)


def brute_region(mask, clicks=()):
    """Every pixel that a king at chess reaches from the deepest one, over pixels of the mask that are not clicked."""
    squared = brute_depths(mask, clicks)
    found = np.zeros(mask.shape, bool)
    edge = [brute_deepest(mask, clicks)[1:]] if squared.any() else []
    while edge:
        y, x = edge.pop()
        if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and squared[y, x] and not found[y, x]:
            found[y, x] = True
            edge += [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return found


def random_mask(rng):
    """Noise, blocks, frames and full pictures of odd sizes: many ties, many touches of the edge."""
    height, width = (int(side) for side in rng.integers(1, 24, 2))
    kind = rng.integers(4)
    if kind == 0:
        return rng.random((height, width)) < rng.choice([0.05, 0.5, 0.95, 1.0])
    mask = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, 5))):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        mask[y : y + int(rng.integers(1, 12)), x : x + int(rng.integers(1, 12))] ^= True
    return ~mask if kind == 1 else mask


def random_clicks(rng, mask, count=6):
    height, width = mask.shape
    return [Click(int(rng.integers(height)), int(rng.integers(width)), bool(rng.integers(2))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(150))
def test_deepest_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    mask = random_mask(rng)
    assert deepest(mask) == brute_deepest(mask)
    clicks = random_clicks(rng, mask)
    assert deepest(mask, clicks) == brute_deepest(mask, clicks)


@pytest.mark.parametrize("seed", range(100))
def test_depths_and_region_equal_the_definition(seed):
    rng = np.random.default_rng(seed + 500)
    mask = random_mask(rng)
    clicks = random_clicks(rng, mask)
    found = depths(mask, clicks)
    height, width = found.distance.shape
    squared, region = np.zeros(mask.shape, int), np.zeros(mask.shape, bool)
    box = slice(found.top, found.top + height), slice(found.left, found.left + width)
    squared[box] = np.rint(found.distance**2)
    np.testing.assert_array_equal(squared, brute_depths(mask, clicks))
    assert found.squared == squared.max(initial=0)
    if found.squared:
        region[box] = found.region()
    np.testing.assert_array_equal(region, brute_region(mask, clicks))


def test_uniform_gives_every_pixel_the_same_chance():
    mask = np.zeros((3, 4), bool)
    mask[0, 1] = mask[1, 3] = mask[2, 0] = True
    rng, hits = np.random.default_rng(0), np.zeros(mask.shape, int)
    for _ in range(900):
        hits[uniform(mask, rng)] += 1
    assert hits[~mask].sum() == 0
    assert (abs(hits[mask] - 300) < 60).all()  # four standard deviations


def test_uniform_takes_nothing_from_an_empty_mask_and_draws_nothing():
    rng = np.random.default_rng(0)
    assert uniform(np.zeros((3, 3), bool), rng) is None
    assert rng.random() == np.random.default_rng(0).random()


def test_the_picture_edge_is_a_border():
    assert deepest(np.ones((7, 9), bool)) == (16, 3, 3)


def test_ties_go_to_the_first_in_reading_order():
    mask = np.zeros((20, 20), bool)
    mask[10:15, 1:6] = mask[10:15, 12:17] = mask[2:7, 8:13] = True
    assert deepest(mask) == (9, 4, 10)


def test_clicked_pixels_are_taken_out_after_the_transform():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    assert deepest(mask) == (16, 4, 4)
    # Had the click made a hole, the deepest pixel would now lie in a corner at depth 4.
    assert deepest(mask, [Click(4, 4, True)]) == (9, 3, 3)


def test_nothing_to_choose():
    one = np.zeros((5, 5), bool)
    assert deepest(one) == (0, 0, 0)
    one[0, 4] = True
    assert deepest(one) == (1, 0, 4)
    assert deepest(one, [Click(0, 4, False)]) == (0, 0, 0)


def test_true_ties_survive_the_rounding_of_a_large_transform():
    """Two equal discs: float noise must not decide between them."""
    y, x = np.ogrid[:300, :700]
    mask = ((y - 150) ** 2 + (x - 550) ** 2 <= 121**2) | ((y - 149) ** 2 + (x - 150) ** 2 <= 121**2)
    depth, top, left = deepest(mask)
    assert (depth, top, left) == (deepest(mask[:, :350])[0], 149, 150)


def test_a_view_of_a_larger_picture_is_read_like_a_copy():
    rng = np.random.default_rng(0)
    large = rng.random((40, 40)) < 0.8
    assert deepest(large[3:30:2, 5:25]) == deepest(large[3:30:2, 5:25].copy())


def test_errors_outside_the_ignore_band():
    target = np.array([[1, 1, 0, 0, 0]], bool)
    prediction = np.array([[0, 1, 1, 1, 0]], bool)
    ignore = np.array([[0, 0, 0, 1, 1]], bool)
    missed, extra = errors(target, prediction, ignore)
    assert missed.tolist() == [[True, False, False, False, False]]
    assert extra.tolist() == [[False, False, True, False, False]]
    missed, extra = errors(target, None)
    assert missed.tolist() == target.tolist()
    assert not extra.any()


def test_depths_of_a_large_square_are_exact():
    assert deepest(np.ones((1999, 2003), bool)) == (1000**2, 999, 999)
