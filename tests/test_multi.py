"""RITM's points sampler: how many points, and where."""

import numpy as np
import pytest
from test_strategies import random_case

from mfpgan.clicks.multi import Multi
from mfpgan.clicks.random import Random
from mfpgan.types import Click


def first_turns(user, target, ignore=None, others=None, times=1000, seed=0):
    rng = np.random.default_rng(seed)
    return [user(target, None, (), rng, ignore, others) for _ in range(times)]


def hits_of(turns, shape, positive):
    hits = np.zeros(shape, int)
    for click in (click for turn in turns for click in turn if click.positive == positive):
        hits[click.y, click.x] += 1
    return hits


@pytest.mark.parametrize(("points", "ratio"), [(24, 0.8), (5, 0.5), (3, 1.0)])
def test_multi_draws_geometric_numbers_of_points(points, ratio):
    target = np.zeros((24, 24), bool)
    target[6:16, 6:16] = True
    turns = first_turns(Multi(points=points, ratio=ratio), target, times=3000)
    for positive, fewest in ((True, 1), (False, 0)):
        counts = [sum(click.positive == positive for click in turn) for turn in turns]
        weights = ratio ** np.arange(points + 1 - fewest)
        expected = 3000 * weights / weights.sum()
        observed = np.bincount(counts, minlength=points + 1)[fewest:]
        assert len(observed) == len(expected)
        # Chi-square with at most 24 degrees of freedom: 51.2 is exceeded once in a thousand seeds, and the seed is fixed.
        assert ((observed - expected) ** 2 / expected).sum() < 51.2


def test_multi_shares_its_negative_points_between_border_other_objects_and_background():
    target, others = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    target[4:19, 4:19] = True  # area 225: the strip is ceil(1.5) = 2 pixels wide
    others[30:36, 30:36] = True
    strip = np.zeros_like(target)
    strip[2:21, 2:21] = True
    strip &= ~target
    outside = int((~target).sum())
    hits = hits_of(first_turns(Multi(), target, others=others, times=1000), target.shape, positive=False)
    assert hits[target].sum() == 0
    # The background is all that is not the object, so it has a part in strip and other objects too.
    assert abs(hits[strip].sum() / hits.sum() - (0.5 + 0.1 * strip.sum() / outside)) < 0.03
    assert abs(hits[others].sum() / hits.sum() - (0.4 + 0.1 * others.sum() / outside)) < 0.03
    # Nobody else in the picture, or nobody looked: their share goes to the background.
    for nobody in (None, np.zeros_like(target)):
        hits = hits_of(first_turns(Multi(), target, others=nobody, times=1000), target.shape, positive=False)
        assert abs(hits[strip].sum() / hits.sum() - (0.5 + 0.5 * strip.sum() / outside)) < 0.03
    # The whole strip and nothing but the strip.
    hits = hits_of(first_turns(Multi(border=1), target, others=others, times=1000), target.shape, positive=False)
    np.testing.assert_array_equal(hits > 0, strip)


def test_multi_leaves_out_negative_points_whose_area_is_empty():
    target = np.zeros((30, 30), bool)
    target[10:20, 10:20] = True
    ignore = np.zeros_like(target)
    ignore[9:21, 9:21] = True  # all of the strip, which is one pixel wide
    ignore &= ~target
    turns = first_turns(Multi(border=1), target, ignore, times=100)
    assert all(click.positive for turn in turns for click in turn)
    # Other objects that all lie in the ignore band are there, but have no pixel to point at: .1 of the rest is left.
    turns = first_turns(Multi(border=0), target, ignore, others=ignore, times=1000)
    full = first_turns(Multi(border=0), target, ignore, times=1000)
    left, wanted = (hits_of(some, target.shape, positive=False).sum() for some in (turns, full))
    assert abs(left / wanted - 0.2) < 0.04


def test_multi_keeps_positive_points_off_the_edge_of_the_object():
    target = np.zeros((40, 40), bool)
    target[5:25, 5:25] = True
    core = np.zeros_like(target)
    core[8:22, 8:22] = True
    always = hits_of(first_turns(Multi(eroded=1), target, times=1000), target.shape, positive=True)
    np.testing.assert_array_equal(always > 0, core)
    never = hits_of(first_turns(Multi(eroded=0), target, times=1000), target.shape, positive=True)
    np.testing.assert_array_equal(never > 0, target)
    # With .9 the outer ring (204 of 400 pixels) is hit by one single point in .1 * 204 / 400 of the turns.
    some = hits_of(first_turns(Multi(points=1), target, times=4000), target.shape, positive=True)
    assert some.sum() == 4000
    assert abs(some[target & ~core].sum() / 4000 - 0.051) < 0.012


@pytest.mark.parametrize(("width", "left"), [(16, (7, 16)), (17, (1, 11))])
def test_multi_does_not_erode_an_object_to_ten_pixels_or_less(width, left):
    """7 x 16 pixels less 3 on each side are 1 x 10, not more than 10; 7 x 17 are 1 x 11."""
    target = np.zeros((30, 30), bool)
    target[10:17, 5 : 5 + width] = True
    hits = hits_of(first_turns(Multi(eroded=1), target, times=500), target.shape, positive=True) > 0
    assert (hits.any(1).sum(), hits.any(0).sum()) == left


def test_multi_does_not_erode_at_the_edge_of_the_picture():
    target = np.zeros((30, 30), bool)
    target[:12, :12] = True
    hits = hits_of(first_turns(Multi(eroded=1), target), target.shape, positive=True) > 0
    assert hits[:9, :9].all()
    assert hits.sum() == 81


def test_multi_goes_on_like_random():
    for seed in range(20):
        target, prediction, _, ignore = random_case(seed)
        case = target, prediction, [Click(0, 0, True)]
        assert Multi()(*case, np.random.default_rng(seed), ignore) == Random()(
            *case, np.random.default_rng(seed), ignore
        )
