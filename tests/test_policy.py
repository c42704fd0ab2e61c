"""Objects chosen by what is known of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mfpgan.data import open_dataset
from mfpgan.data.facts import Facts, facts_of
from mfpgan.data.policy import choose, repeat_factors
from mfpgan.data.subset import Subset
from mfpgan.types import DataSet, InputError

AREAS = [10, 20, 30, 40, 50]
NAMES, FREQUENCIES = ("ant", "bee", "cat", "dog"), ("r", "c", "f", "f")


class Known:
    """Three images; reads nothing."""

    name = "known"

    def __init__(self, groups: Sequence[Sequence[int]], categories: Sequence[int]) -> None:
        self.objects_of_image = groups
        self.categories = categories

    def __len__(self) -> int:
        return len(self.categories)

    def facts(self) -> Facts:
        areas = np.resize(np.array(AREAS, np.float32), len(self))
        return Facts(areas, np.array(self.categories, np.int32), NAMES, FREQUENCIES)

    def digest(self) -> str:
        return "0" * 16


@pytest.fixture
def data() -> DataSet:
    return Known([[0, 1], [2], [3, 4]], [0, 2, 1, 2, -1])  # type: ignore[return-value]


def areas(data: DataSet) -> list[float]:
    facts = facts_of(data)
    assert facts is not None
    return facts.area_px.tolist()


@pytest.mark.parametrize(
    ("conditions", "objects", "groups"),
    [
        ({"min_area": 20}, [20, 30, 40, 50], [[0], [1], [2, 3]]),
        ({"max_area": 20.5}, [10, 20], [[0, 1]]),
        ({"min_area": 30, "max_area": 40}, [30, 40], [[0], [1]]),
        ({"categories": ["cat"]}, [20, 40], [[0], [1]]),
        ({"categories": ["r", "bee"]}, [10, 30], [[0], [1]]),
        ({"categories": ["f", "c"], "max_area": 30}, [20, 30], [[0], [1]]),
    ],
)
def test_what_fulfils_all_conditions_is_left(
    data: DataSet, conditions: dict[str, float], objects: list[float], groups: list[list[int]]
) -> None:
    chosen = choose(data, **conditions)  # type: ignore[arg-type]
    assert areas(chosen) == objects
    assert list(chosen.objects_of_image) == groups
    assert len(chosen) == len(objects)
    assert chosen.digest() != data.digest()


def test_without_a_condition_the_data_is_untouched(data: DataSet) -> None:
    assert choose(data) is data


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"categories": ["cot"]}, "--categories cot: known has no such category; name one of its 4, say cat"),
        (
            {"min_area": 51},
            "none of the 5 objects of known is left by --min-area 51; ask for less .they have from 10 to 50",
        ),
        ({"categories": ["dog"]}, "none of the 5 objects of known is left by --categories dog"),
    ],
)
def test_nothing_left_is_a_sentence(data: DataSet, conditions: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose(data, **conditions)  # type: ignore[arg-type]


def test_a_policy_wants_data_that_knows() -> None:
    drawn = open_dataset("synthetic")
    for part in (drawn, Subset(drawn, range(3), "some")):
        assert facts_of(part) is None
        with pytest.raises(InputError, match="does not know the size"):
            choose(part, min_area=3)
        with pytest.raises(InputError, match="leave out --repeat-threshold"):
            repeat_factors(part, 0.1)


def test_a_part_of_a_part_keeps_its_facts(data: DataSet) -> None:
    assert areas(choose(Subset(data, [2, 0], "two"), max_area=40)) == [40, 10, 20]


def test_repeat_factors_by_hand() -> None:
    # "cat" is in all four images and "bee" in one of them: factors 1 and sqrt(1 / .25) = 2; "dog" is in two.
    data = Known([[0, 1], [2, 3], [4], [5, 6]], [2, 1, 2, 3, 2, 2, 3])
    assert repeat_factors(data, 1).tolist() == [2, np.sqrt(2), 1, np.sqrt(2)]  # type: ignore[arg-type]
    assert repeat_factors(data, 0.5).tolist() == [np.sqrt(2), 1, 1, 1]  # type: ignore[arg-type]
    assert repeat_factors(data, 0.25).tolist() == [1, 1, 1, 1]  # type: ignore[arg-type]


def test_repeat_factors_are_those_of_the_paper_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    groups = np.split(rng.permutation(90), np.sort(rng.choice(np.arange(1, 90), 39, replace=False)))
    categories = rng.choice([-1, 0, 1, 2, 3], 90, p=[0.1, 0.02, 0.08, 0.3, 0.5]).tolist()
    data = Known([group.tolist() for group in groups], categories)
    factors = []
    for objects in data.objects_of_image:
        factor = 1.0
        for category in {categories[number] for number in objects} - {-1}:
            images = sum(any(categories[number] == category for number in group) for group in data.objects_of_image)
            factor = max(factor, (0.4 / (images / 40)) ** 0.5)
        factors.append(factor)
    assert max(factors) > 1.5
    assert min(factors) == 1
    np.testing.assert_allclose(repeat_factors(data, 0.4), factors, rtol=1e-12)  # type: ignore[arg-type]
