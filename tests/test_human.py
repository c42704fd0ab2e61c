"""The robot that misses: where the eye looks, where the hand lands, which button it takes."""

from math import sqrt

import numpy as np
import pytest
from test_error_regions import brute_depths, brute_region
from test_strategies import brute_choice, random_case

from mfpgan.clicks.human import Human
from mfpgan.types import Click


def test_human_with_a_steady_hand_clicks_in_proportion_to_depth():
    """Depths of a square of 5 are 1 (16 pixels), 2 (8) and 3 (1): 35 in all."""
    target = np.zeros((11, 12), bool)
    target[3:8, 4:9] = target[0, 0] = True  # the lone pixel belongs to another region
    rng, hits = np.random.default_rng(0), np.zeros(target.shape, int)
    for _ in range(7000):
        ((y, x, _),) = Human(jitter=0)(target, None, (), rng)
        hits[y, x] += 1
    expected = 200 * np.rint(np.sqrt(brute_depths(target)))
    expected[0, 0] = 0
    assert (abs(hits - expected) <= 4.5 * np.sqrt(expected)).all()  # and so never where nothing is expected


def test_human_draws_the_first_pixel_of_the_region_at_chance_zero():
    """The corner of the bounding box has no depth, and a sum of depths that is still 0 must not choose it."""

    class Zero:
        def random(self):
            return 0.0

        def standard_normal(self, count):
            return np.zeros(count)

    target = np.zeros((5, 5), bool)
    target[1, 2] = target[2, 1:4] = target[3, 2] = True
    assert Human()(target, None, (), Zero()) == (Click(1, 2, True),)


@pytest.mark.parametrize("seed", range(100))
def test_human_with_a_steady_hand_clicks_in_the_region_of_the_deepest_error(seed):
    target, prediction, clicks, ignore = random_case(seed + 4000)
    choice = brute_choice(target, prediction, clicks, ignore)
    turn = Human(jitter=0)(target, prediction, clicks, np.random.default_rng(seed), ignore)
    if choice is None:
        assert turn == ()
    else:
        ((y, x, positive),) = turn
        assert positive == choice[1]
        assert brute_region(choice[0], clicks)[y, x]


@pytest.mark.parametrize("side", [20, 80])
def test_humans_hand_trembles_with_the_square_root_of_the_region(side):
    target = np.zeros((160, 160), bool)
    target[40 : 40 + side, 30 : 30 + side] = True
    steps = []
    for seed in range(800):  # the same generator makes the same eye
        eye, hand = (Human(jitter=jitter)(target, None, (), np.random.default_rng(seed))[0] for jitter in (0, 0.1))
        steps.append((hand.y - eye.y, hand.x - eye.x))
    sigma = sqrt((0.1 * side) ** 2 + 1 / 12)  # and the rounding to pixels
    assert abs(np.std(steps, axis=0) / sigma - 1).max() < 0.08
    assert abs(np.mean(steps, axis=0) / sigma).max() < 0.12


def test_human_misses_as_often_as_its_docstring_says():
    y, x = np.ogrid[:100, :100]
    target = (y - 50) ** 2 + (x - 50) ** 2 <= 30**2
    for jitter, share in ((0.05, 0.012), (0.1, 0.045)):
        rng, missed = np.random.default_rng(0), 0
        for _ in range(3000):
            ((row, column, positive),) = Human(jitter=jitter)(target, None, (), rng)
            assert positive  # also where it missed: that is what the user meant
            missed += not target[row, column]
        assert abs(missed / 3000 - share) < 0.008


def test_human_takes_the_wrong_button_at_the_right_place():
    target = np.zeros((9, 9), bool)
    target[2:7, 2:7] = True
    signs = []
    for seed in range(2000):
        ((y, x, positive),) = Human(wrong=0.3)(target, None, (), np.random.default_rng(seed))
        assert Human()(target, None, (), np.random.default_rng(seed)) == (Click(y, x, True),)
        signs.append(positive)
    assert abs(np.mean(signs) - 0.7) < 0.03


def test_human_never_clicks_in_the_ignore_band_nor_twice():
    """The widest hand in the smallest places: only three pixels are free."""
    target = np.zeros((30, 30), bool)
    target[15, 14:18] = True
    ignore, clicks = ~target, [Click(15, 14, True)]
    rng, hits = np.random.default_rng(0), np.zeros(target.shape, int)
    for _ in range(200):
        ((y, x, _),) = Human(jitter=1)(target, None, clicks, rng, ignore)
        hits[y, x] += 1
    free = target.copy()
    free[15, 14] = False
    np.testing.assert_array_equal(hits > 0, free)


def test_human_stays_in_the_picture():
    target = np.ones((6, 8), bool)
    rng, hits = np.random.default_rng(0), np.zeros(target.shape, int)
    for _ in range(1500):
        ((y, x, _),) = Human(jitter=1)(target, None, (), rng)
        hits[y, x] += 1
    assert hits.min() > 0  # a miss off the edge counts on the edge, so no pixel is out of reach
    assert hits[0].sum() > 2 * hits[1].sum()
