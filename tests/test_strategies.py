"""Every simulated user keeps the contract of ClickStrategy; the geometric ones equal independent twins."""

from dataclasses import fields
from math import sqrt

import numpy as np
import pytest
from test_error_regions import brute_deepest, brute_depths, brute_region, random_clicks, random_mask

from mfpgan.clicks.adaptive import Adaptive
from mfpgan.clicks.center import Center
from mfpgan.clicks.mixed import Mixed
from mfpgan.clicks.multi import Multi
from mfpgan.clicks.random import Random
from mfpgan.clicks.strategies import STRATEGIES, make_strategy
from mfpgan.types import Click, InputError

PARAMETERS = {
    "random": {"rounds"},
    "multi": {"points", "ratio", "eroded", "border", "rounds"},
    "adaptive": {"spread", "rounds"},
    "mixed": {"points", "ratio", "spread", "rounds"},
    "center": {"rounds"},
    "human": {"jitter", "wrong", "rounds"},
}
"""Of the users that come along; a user added later needs no line here."""
LIMITS = {
    "points": (1, 100),
    "ratio": (0.001, 1),
    "eroded": (0, 1),
    "border": (0, 1),
    "spread": (0, 1),
    "jitter": (0, 1),
    "wrong": (0, 1),
    "rounds": (0, 20),
}
SEVERAL_AT_ONCE = {"random", "multi", "mixed"}
"""Their first turn holds several clicks and also points at background that nobody claimed. The other users of PARAMETERS
click once a turn; of users added later nobody knows."""


def may_point_at_background(name):
    return name in SEVERAL_AT_ONCE or name not in PARAMETERS


def careful(name):
    """The strategy with its defaults; `human` with a steady hand, because its misses break the contract on purpose."""
    return STRATEGIES[name](**({"jitter": 0, "wrong": 0} if name == "human" else {}))


def random_case(seed):
    """(target, prediction or None, clicks, ignore or None) of one size; the target may be empty."""
    rng = np.random.default_rng(seed)
    target = random_mask(rng)
    prediction = None if rng.random() < 0.2 else target ^ (rng.random(target.shape) < rng.choice([0.0, 0.1, 0.6]))
    ignore = None if rng.random() < 0.5 else (rng.random(target.shape) < 0.3) & ~target
    clicks = [] if rng.random() < 0.3 else random_clicks(rng, target)
    return target, prediction, clicks, ignore


def brute_errors(target, prediction, ignore):
    """Missed and surplus pixels, one by one."""
    missed, extra = np.zeros_like(target), np.zeros_like(target)
    for y, x in np.ndindex(target.shape):
        if ignore is None or not ignore[y, x]:
            answer = prediction is not None and prediction[y, x]
            missed[y, x] = target[y, x] and not answer
            extra[y, x] = answer and not target[y, x]
    return missed, extra


def brute_choice(target, prediction, clicks, ignore):
    """(error mask to click in, sign), or None if no wrong pixel is left."""
    missed, extra = brute_errors(target, prediction, ignore)
    missed_best, extra_best = brute_deepest(missed, clicks)[0], brute_deepest(extra, clicks)[0]
    if missed_best == extra_best == 0:
        return None
    return (missed, True) if missed_best > extra_best else (extra, False)


def brute_center(target, prediction, clicks, ignore):
    choice = brute_choice(target, prediction, clicks, ignore)
    return () if choice is None else (Click(*brute_deepest(choice[0], clicks)[1:], choice[1]),)


def edge_cases():
    one, border = np.zeros((9, 7), bool), np.zeros((9, 7), bool)
    one[4, 3] = border[0:5, 0:3] = True
    corner = np.zeros((9, 7), bool)
    corner[8, 6] = True
    return {"one pixel": one, "corner pixel": corner, "border": border, "whole": np.ones((9, 7), bool)}


# The contract, for every user in the table


def check_turn(name, target, prediction, clicks, ignore, turn):
    """Assert what holds for every turn of every user (with a steady hand)."""
    wrong = np.logical_or(*brute_errors(target, prediction, ignore))
    for click in clicks:
        wrong[click.y, click.x] = False
    free = not clicks and may_point_at_background(name)
    assert isinstance(turn, tuple)
    for click in turn:
        assert isinstance(click, Click)
        assert 0 <= click.y < target.shape[0]
        assert 0 <= click.x < target.shape[1]
        assert target[click.y, click.x] == click.positive
        assert ignore is None or not ignore[click.y, click.x]
        assert free or wrong[click.y, click.x]
    if not free:
        assert bool(turn) == wrong.any()
        assert len(turn) <= 1 or name not in PARAMETERS


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("seed", range(60))
def test_contract(name, seed):
    target, prediction, clicks, ignore = random_case(seed)
    others = np.random.default_rng(seed).random(target.shape) < 0.3
    others &= ~target
    arrays = [array for array in (target, prediction, ignore, others) if array is not None]
    before, clicks_before = [array.copy() for array in arrays], list(clicks)
    turn = careful(name)(target, prediction, clicks, np.random.default_rng(seed), ignore, others)
    check_turn(name, target, prediction, clicks, ignore, turn)
    assert turn == careful(name)(target, prediction, clicks, np.random.default_rng(seed), ignore, others)
    assert clicks == clicks_before
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("target", edge_cases().values(), ids=edge_cases())
def test_contract_at_the_edges(name, target):
    user, rng = careful(name), np.random.default_rng(0)
    for _ in range(20):
        turn = user(target, None, (), rng)
        assert any(click.positive for click in turn)
        check_turn(name, target, None, (), None, turn)
        check_turn(name, target, ~target, turn, None, user(target, ~target, turn, rng))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_right_mask_needs_no_click(name):
    target = np.eye(5, dtype=bool)
    ignore = np.zeros_like(target)
    ignore[0, 1:] = True
    for clicks in [[Click(0, 0, True)]] if may_point_at_background(name) else [[], [Click(0, 0, True)]]:
        assert STRATEGIES[name]()(target, target | ignore, clicks, np.random.default_rng(0), ignore) == ()


@pytest.mark.parametrize("name", STRATEGIES)
def test_wrong_pixels_that_are_all_clicked_need_no_click(name):
    target = np.zeros((4, 4), bool)
    target[1, 1] = target[2, 3] = True
    clicks = [Click(1, 1, True), Click(2, 3, True)]
    assert STRATEGIES[name]()(target, None, clicks, np.random.default_rng(0)) == ()


def test_users_have_the_parameters_written_here():
    assert {name: {field.name for field in fields(STRATEGIES[name])} for name in PARAMETERS} == PARAMETERS


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in PARAMETERS.items() for key in sorted(keys)])
def test_parameters_have_ranges(name, key):
    low, high = LIMITS[key]
    for value in (low, high):
        assert getattr(make_strategy(name, {key: value}), key) == value
    for value in (low - 0.01 if isinstance(low, float) else low - 1, high + 1, "many"):
        with pytest.raises(InputError) as caught:
            make_strategy(name, {key: value})
        message = str(caught.value)
        assert message.startswith(f"clicks.{key}={value!r}: ")
        assert message.endswith(f"(--clicks {name}).")
        assert "\n" not in message
        assert ". " not in message


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_parameter_that_does_not_exist_is_named_with_those_that_do(name):
    with pytest.raises(InputError, match=rf"^robot\.sprad: no such parameter, {name} has .*robot\.rounds.*\.$"):
        make_strategy(name, {"sprad": 0.5}, origin="robot")


def test_a_user_who_does_not_exist():
    with pytest.raises(InputError, match=r"^--clicks nobody: no such strategy, expected one of random, multi, "):
        make_strategy("nobody")


# center


@pytest.mark.parametrize("seed", range(200))
def test_center_equals_an_independent_robot(seed):
    target, prediction, clicks, ignore = random_case(seed + 1000)
    turn = Center()(target, prediction, clicks, np.random.default_rng(0), ignore)
    assert turn == brute_center(target, prediction, clicks, ignore)


def test_center_prefers_negative_at_equal_depth():
    target, prediction = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    target[2:7, 2:7] = prediction[2:7, 12:17] = True
    assert Center()(target, prediction, (), np.random.default_rng(0)) == (Click(4, 14, False),)
    target[2:7, 2:8] = True  # one column more, not deeper
    assert Center()(target, prediction, (), np.random.default_rng(0)) == (Click(4, 14, False),)
    target[2:9, 2:9] = True
    assert Center()(target, prediction, (), np.random.default_rng(0)) == (Click(5, 5, True),)


def test_center_compares_depths_without_the_clicked_pixels():
    target, prediction = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    target[1:8, 1:8] = prediction[2:7, 12:17] = True
    center, rng = Center(), np.random.default_rng(0)
    assert center(target, prediction, (), rng) == (Click(4, 4, True),)
    # Depth 16 is gone, and 9 against 9 is not strictly deeper.
    assert center(target, prediction, [Click(4, 4, True)], rng) == (Click(4, 14, False),)


# random


def test_random_first_turn_is_uniform_on_object_and_background():
    target = np.zeros((4, 6), bool)
    target[1:3, 1:3] = True
    ignore = np.zeros_like(target)
    ignore[3] = True
    rng, hits = np.random.default_rng(0), np.zeros(target.shape, int)
    for _ in range(2800):
        positive, negative = Random()(target, None, (), rng, ignore)
        assert (positive.positive, negative.positive) == (True, False)
        hits[positive[:2]] += 1
        hits[negative[:2]] += 1
    assert hits[ignore].sum() == 0
    assert hits[target].min() > 600  # 700 expected of 4 pixels
    assert hits[~target & ~ignore].min() > 150  # 200 expected of 14 pixels


def test_random_without_background_clicks_once():
    (click,) = Random()(np.ones((3, 3), bool), None, (), np.random.default_rng(0))
    assert click.positive


# adaptive


@pytest.mark.parametrize("seed", range(200))
def test_adaptive_without_spread_is_center(seed):
    target, prediction, clicks, ignore = random_case(seed + 2000)
    case = target, prediction, clicks
    turn = Adaptive(spread=0)(*case, np.random.default_rng(0), ignore)
    assert turn == Center()(*case, np.random.default_rng(0), ignore)


@pytest.mark.parametrize("seed", range(100))
def test_adaptive_clicks_deep_pixels_of_the_deepest_region(seed):
    target, prediction, clicks, ignore = random_case(seed + 3000)
    choice = brute_choice(target, prediction, clicks, ignore)
    if choice is None:
        assert Adaptive()(target, prediction, clicks, np.random.default_rng(0), ignore) == ()
        return
    squared, region = brute_depths(choice[0], clicks), brute_region(choice[0], clicks)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        ((y, x, positive),) = Adaptive(spread=0.5)(target, prediction, clicks, rng, ignore)
        assert positive == choice[1]
        assert region[y, x]
        assert 4 * squared[y, x] > squared.max()  # deeper than half of the greatest depth
        ((y, x, _),) = Adaptive(spread=1)(target, prediction, clicks, rng, ignore)
        assert region[y, x]


@pytest.mark.parametrize(("spread", "reached"), [(0, 1), (0.5, 9), (0.7, 25), (1, 49)])
def test_adaptive_reaches_all_that_its_spread_allows_and_nothing_else(spread, reached):
    """Depths of a square of 7 are 4, 3, 2 and 1 from the middle to its edge; a second, smaller region is never hit."""
    target = np.zeros((20, 20), bool)
    target[3:10, 3:10] = target[13:19, 13:19] = True
    rng = np.random.default_rng(0)
    hits = np.zeros(target.shape, int)
    for _ in range(600):
        ((y, x, _),) = Adaptive(spread=spread)(target, None, (), rng)
        hits[y, x] += 1
    margin = (7 - round(sqrt(reached))) // 2
    expected = np.zeros_like(target)
    expected[3 + margin : 10 - margin, 3 + margin : 10 - margin] = True
    np.testing.assert_array_equal(hits > 0, expected)


# mixed


def test_mixed_is_multi_and_then_adaptive_with_their_defaults():
    defaults = {name: {field.name: field.default for field in fields(STRATEGIES[name])} for name in STRATEGIES}
    for key in ("points", "ratio"):
        assert defaults["mixed"][key] == defaults["multi"][key]
    for key in ("spread", "rounds"):
        assert defaults["mixed"][key] == defaults["adaptive"][key]
    for seed in range(20):
        target, prediction, _, ignore = random_case(seed)
        rng, twin = np.random.default_rng(seed), np.random.default_rng(seed)
        mixed = Mixed(points=4, ratio=0.3, spread=0.9)
        assert mixed(target, None, (), rng, ignore) == Multi(points=4, ratio=0.3)(target, None, (), twin, ignore)
        case = target, prediction, [Click(0, 0, True)]
        assert mixed(*case, rng, ignore) == Adaptive(spread=0.9)(*case, twin, ignore)
