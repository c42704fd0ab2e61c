"""Every simulated user keeps the contract of ClickStrategy; the robot equals an independent one."""

from typing import get_args

import numpy as np
import pytest
from test_error_regions import brute_deepest, random_clicks, random_mask

from mfpgan import config
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.types import Click


def random_case(seed):
    """(target, prediction or None, clicks, ignore or None) of one size; the target may be empty."""
    rng = np.random.default_rng(seed)
    target = random_mask(rng)
    prediction = None if rng.random() < 0.2 else target ^ (rng.random(target.shape) < rng.choice([0.0, 0.1, 0.6]))
    ignore = None if rng.random() < 0.5 else (rng.random(target.shape) < 0.3) & ~target
    clicks = [] if rng.random() < 0.3 else random_clicks(rng, target)
    return target, prediction, clicks, ignore


def brute_center(target, prediction, clicks, ignore):
    missed, extra = np.zeros_like(target), np.zeros_like(target)
    for y, x in np.ndindex(target.shape):
        if ignore is None or not ignore[y, x]:
            answer = prediction is not None and prediction[y, x]
            missed[y, x] = target[y, x] and not answer
            extra[y, x] = answer and not target[y, x]
    missed_best, extra_best = brute_deepest(missed, clicks), brute_deepest(extra, clicks)
    if missed_best[0] == extra_best[0] == 0:
        return ()
    positive = missed_best[0] > extra_best[0]
    return (Click(*(missed_best if positive else extra_best)[1:], positive),)


def test_the_table_and_the_config_name_the_same_users():
    assert tuple(STRATEGIES) == get_args(config.ClicksName)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("seed", range(60))
def test_contract(name, seed):
    target, prediction, clicks, ignore = random_case(seed)
    before = target.copy(), None if prediction is None else prediction.copy(), list(clicks)
    turn = STRATEGIES[name]()(target, prediction, clicks, np.random.default_rng(seed), ignore)
    assert turn == STRATEGIES[name]()(target, prediction, clicks, np.random.default_rng(seed), ignore)
    answer = np.zeros_like(target) if prediction is None else prediction
    wrong = (target != answer) & (True if ignore is None else ~ignore)
    for y, x in {(click.y, click.x) for click in clicks}:
        wrong[y, x] = False
    assert isinstance(turn, tuple)
    for click in turn:
        assert isinstance(click, Click)
        assert 0 <= click.y < target.shape[0]
        assert 0 <= click.x < target.shape[1]
        assert target[click.y, click.x] == click.positive
        assert ignore is None or not ignore[click.y, click.x]
        if clicks:  # a first turn may also point at background that nobody got wrong
            assert wrong[click.y, click.x]
    if clicks:
        assert len(turn) == int(wrong.any())
    np.testing.assert_array_equal(target, before[0])
    assert clicks == before[2]
    if prediction is not None:
        np.testing.assert_array_equal(prediction, before[1])


@pytest.mark.parametrize("seed", range(200))
def test_center_equals_an_independent_robot(seed):
    target, prediction, clicks, ignore = random_case(seed + 1000)
    turn = STRATEGIES["center"]()(target, prediction, clicks, np.random.default_rng(0), ignore)
    assert turn == brute_center(target, prediction, clicks, ignore)


def test_center_prefers_negative_at_equal_depth():
    target, prediction = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    target[2:7, 2:7] = prediction[2:7, 12:17] = True
    assert STRATEGIES["center"]()(target, prediction, (), np.random.default_rng(0)) == (Click(4, 14, False),)
    target[2:7, 2:8] = True  # one column more, not deeper
    assert STRATEGIES["center"]()(target, prediction, (), np.random.default_rng(0)) == (Click(4, 14, False),)
    target[2:9, 2:9] = True
    assert STRATEGIES["center"]()(target, prediction, (), np.random.default_rng(0)) == (Click(5, 5, True),)


def test_center_compares_depths_without_the_clicked_pixels():
    target, prediction = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    target[1:8, 1:8] = prediction[2:7, 12:17] = True
    center, rng = STRATEGIES["center"](), np.random.default_rng(0)
    assert center(target, prediction, (), rng) == (Click(4, 4, True),)
    # Depth 16 is gone, and 9 against 9 is not strictly deeper.
    assert center(target, prediction, [Click(4, 4, True)], rng) == (Click(4, 14, False),)


def test_random_first_turn_is_uniform_on_object_and_background():
    target = np.zeros((4, 6), bool)
    target[1:3, 1:3] = True
    ignore = np.zeros_like(target)
    ignore[3] = True
    rng, hits = np.random.default_rng(0), np.zeros(target.shape, int)
    for _ in range(2800):
        positive, negative = STRATEGIES["random"]()(target, None, (), rng, ignore)
        assert (positive.positive, negative.positive) == (True, False)
        hits[positive[:2]] += 1
        hits[negative[:2]] += 1
    assert hits[ignore].sum() == 0
    assert hits[target].min() > 600  # 700 expected of 4 pixels
    assert hits[~target & ~ignore].min() > 150  # 200 expected of 14 pixels


def test_random_without_background_clicks_once():
    full = np.ones((3, 3), bool)
    (click,) = STRATEGIES["random"]()(full, None, (), np.random.default_rng(0))
    assert click.positive


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_right_mask_needs_no_click(name):
    target = np.eye(5, dtype=bool)
    ignore = np.zeros_like(target)
    ignore[0, 1:] = True
    assert STRATEGIES[name]()(target, target | ignore, [Click(0, 0, True)], np.random.default_rng(0), ignore) == ()
