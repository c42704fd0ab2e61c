"""Differences between arms: numbers made by hand, and how often the intervals are right in simulated studies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats

from mfpgan.metrics import bootstrap_interval
from mfpgan.study import statistics
from mfpgan.study.answer import answer
from mfpgan.study.measures import Evaluation, Measure
from mfpgan.study.statistics import difference, holm


def test_a_difference_by_hand() -> None:
    """Two seeds, three objects of two images: the changes are 1, 3, 2 and 3, 5, 4."""
    reference = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    found = difference(reference + np.array([[1, 3, 2], [3, 5, 4]]), reference, ["a", "a", "b"])
    assert found.mean == 3
    assert found.by_seed == (2, 4)
    assert found.by_object.tolist() == [2, 4, 3]
    assert found.better == 1
    assert found.seed_deviation == pytest.approx(2**0.5)
    assert found.low < min(found.by_seed) < max(found.by_seed) < found.high, "t with one degree of freedom is wide"
    worse = difference(reference + np.array([[1, 3, 2], [3, 5, 4]]), reference, ["a", "a", "b"], higher_is_better=False)
    assert (worse.mean, worse.better) == (3, 0)


def test_ties_count_half_and_nothing_is_no_difference() -> None:
    same = np.ones((3, 4))
    found = difference(same, same, [0, 1, 2, 3])
    assert (found.mean, found.low, found.high, found.p, found.better) == (0, 0, 0, 1, 0.5)
    assert found.seeds_for(0.1) == 2


def test_with_one_seed_it_is_the_bootstrap_over_images_and_says_nothing_of_seeds() -> None:
    rng = np.random.default_rng(0)
    changes, images = rng.normal(size=(1, 60)), np.arange(60) // 2
    found = difference(changes, np.zeros((1, 60)), images.tolist())
    low, high = bootstrap_interval(changes[0].tolist(), images.tolist(), statistics.SAMPLES)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert np.isnan(found.seed_deviation)
    assert found.seeds_for(10) is None


def test_the_test_is_scipys_of_the_means_of_images() -> None:
    rng = np.random.default_rng(1)
    changes, images = rng.normal(0.3, 1, size=(2, 40)), np.arange(40) // 4
    found = difference(changes, np.zeros((2, 40)), images.tolist())
    expected = scipy.stats.wilcoxon(changes.mean(0).reshape(10, 4).mean(1)).pvalue
    assert found.p == pytest.approx(expected)


def test_holm_by_hand() -> None:
    """Holm 1979: the smallest of four times 4, the next times 3, never below one before, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_seeds_needed_by_hand() -> None:
    """No variance by images and a deviation of 1: t(3) / sqrt(4) = 1.591, t(4) / sqrt(5) = 1.242."""
    changes = np.array([[-1.0] * 50, [0.0] * 50, [1.0] * 50])
    found = difference(changes, np.zeros((3, 50)), list(range(50)))
    assert found.seed_deviation == 1
    assert (found.seeds_for(1.60), found.seeds_for(1.58), found.seeds_for(1.24)) == (4, 5, 6)
    spread = difference(np.tile(np.linspace(-5, 5, 50), (3, 1)), np.zeros((3, 50)), list(range(50)))
    assert spread.seeds_for(0.1) is None, "only more images would help"


@pytest.mark.parametrize(("arm", "reference"), [((2, 3), (3, 3)), ((2, 3), (2, 4)), ((0, 3), (0, 3)), ((2, 4), (2, 4))])
def test_shapes_that_cannot_be_paired(arm: tuple[int, int], reference: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"arms must be \(seeds, 3\) both"):
        difference(np.zeros(arm), np.zeros(reference), [0, 1, 2])


class World(NamedTuple):
    """A study that is drawn: standard deviations of each source of chance in a difference."""

    seeds: int
    images: int
    of_seeds: float
    of_images: float
    of_both: float
    of_objects: float = 0.5


WORLDS = [
    World(1, 60, 0, 1, 0),
    World(2, 60, 0.3, 1, 0.5),
    World(3, 60, 0.3, 0, 0),
    World(3, 60, 0, 1, 0),
    World(3, 60, 0, 0, 1),
    World(3, 60, 0.1, 1, 0.5),
    World(5, 40, 0.2, 1, 0.5),
    World(10, 40, 0.05, 0.5, 1),
]


def studies(world: World, effect: float, count: int) -> list[statistics.Difference]:
    """So many of them, images with 1 to 4 objects each."""
    rng = np.random.default_rng([1, world.seeds, world.images])
    found = []
    for number in range(count):
        images = np.repeat(np.arange(world.images), rng.integers(1, 5, world.images))
        changes = effect + world.of_seeds * rng.normal(size=(world.seeds, 1))
        changes = changes + world.of_images * rng.normal(size=world.images)[images]
        changes = changes + world.of_both * rng.normal(size=(world.seeds, world.images))[:, images]
        changes = changes + world.of_objects * rng.normal(size=(world.seeds, len(images)))
        found.append(difference(changes, np.zeros_like(changes), images.tolist(), seed=number))
    return found


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLES", 1000)


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_hold_the_truth_about_as_often_as_they_say(world: World) -> None:
    found = studies(world, 0.7, 400)
    assert 0.90 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.98


@pytest.mark.parametrize("world", WORLDS)
def test_a_study_of_nothing_seldom_finds_something(world: World) -> None:
    found = studies(world, 0, 400)
    assert np.mean([not one.low <= 0 <= one.high for one in found]) <= 0.07


@pytest.mark.parametrize("world", [world for world in WORLDS if not world.of_seeds])
def test_where_seeds_do_not_differ_the_test_is_right_too(world: World) -> None:
    assert np.mean([one.p < 0.05 for one in studies(world, 0, 400)]) <= 0.07


def test_a_grid_of_nothing_seldom_says_better_or_worse() -> None:
    """Five arms against one reference: each interval by itself leaves 0 out once in twenty, the sentences together too."""
    rng, said, alone = np.random.default_rng(5), 0, 0
    measure = Measure("iou", True, 3)
    for _ in range(300):
        values = 0.3 * rng.normal(size=(6, 3, 1)) + rng.normal(size=40) + 0.5 * rng.normal(size=(6, 3, 40))
        evaluation = Evaluation("", ("",) * 40, tuple(range(40)), {measure: values}, None)
        lines = answer([evaluation], ["off", "a", "b", "c", "d", "e"], {}).lines
        said += any(line.verdict.endswith((" is better.", " is worse.")) for line in lines)
        alone += any(line.found.low > 0 or line.found.high < 0 for line in lines)
    assert said / 300 <= 0.07
    assert alone / 300 > 0.1, "which is why"


def test_a_planted_effect_is_found() -> None:
    """.7 beside a standard error of about .17."""
    found = studies(WORLDS[4], 0.7, 200)
    assert np.mean([one.low > 0 for one in found]) > 0.85
    assert np.mean([one.mean for one in found]) == pytest.approx(0.7, abs=0.05)


def test_seeds_drawn_again_would_promise_too_much() -> None:
    """Why Student's t stands at the outer level: percentiles of three seeds drawn again hold the truth three times in four."""
    rng = np.random.default_rng(2)
    seeds = rng.normal(size=(400, 3))
    drawn = seeds[:, rng.integers(3, size=(500, 3))].mean(2)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.8
