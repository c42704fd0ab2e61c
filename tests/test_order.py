"""The order of a run is a function of (seed, position)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from test_policy import Known

from mfpgan.data.order import Order
from mfpgan.types import DataSet

# Images with 3, 1, 2, 5 and 1 objects; the rare category 0 is in two of them, 1 in one.
GROUPS = [[0, 1, 2], [3], [4, 5], [6, 7, 8, 9, 10], [11]]
CATEGORIES = [2, 2, 0, 2, 2, 1, 2, 2, 2, 2, 0, 2]
THRESHOLD = 0.9
FACTORS = [(0.9 / 0.4) ** 0.5, 1, (0.9 / 0.2) ** 0.5, (0.9 / 0.4) ** 0.5, 1]


@pytest.fixture
def data() -> DataSet:
    return Known(GROUPS, CATEGORIES)  # type: ignore[return-value]


def test_the_usual_order_is_the_seeds() -> None:
    """Written out as it has been since the first version: older runs go on where they stopped."""
    data = Known(GROUPS, CATEGORIES)
    order = Order(data, seed=7)  # type: ignore[arg-type]
    for position in (0, 3, 4, 5, 499, 12):
        epoch, place = divmod(position, 5)
        image = np.random.default_rng([7, epoch, 1]).permutation(5)[place]
        objects = GROUPS[image]
        number = objects[np.random.default_rng([7, position, 2]).integers(len(objects))]
        assert order.at(position) == (image, number)


def test_an_image_is_shared_by_positions_in_a_row(data: DataSet) -> None:
    order = Order(data, 0, objects_per_image=3)
    assert order.shares_images
    for epoch in range(20):
        places = [order.at(position) for position in range(15 * epoch, 15 * epoch + 15)]
        images = [place.image for place in places]
        assert images[0::3] == images[1::3] == images[2::3]
        assert sorted(images[0::3]) == [0, 1, 2, 3, 4]
        for first in range(0, 15, 3):
            numbers = [place.number for place in places[first : first + 3]]
            of_image = GROUPS[places[first].image]
            assert set(numbers) <= set(of_image)
            assert len(set(numbers)) == min(3, len(of_image)), "all different, as far as there are so many"


def brute_force(seed: int, epochs: int) -> list[list[int]]:
    """The images of each epoch with whole numbers and loops: marks one apart on fractions laid end to end."""
    one = 2**32
    found = []
    for epoch in range(epochs):
        mark = int(np.random.default_rng([seed, 0, 13]).random(epochs)[epoch] * one)
        times = {image: int(factor) for image, factor in enumerate(FACTORS)}
        end = 0
        for image in np.random.default_rng([seed, epoch, 14]).permutation(5).tolist():
            end += int((FACTORS[image] - int(FACTORS[image])) * one)
            if mark < end:
                times[image] += 1
                mark += one
        images = [image for image in range(5) for _ in range(times[image])]
        found.append([images[i] for i in np.random.default_rng([seed, epoch, 1]).permutation(len(images))])
    return found


@pytest.mark.parametrize("objects_per_image", [1, 2])
def test_repeated_images_are_those_of_a_plain_count(data: DataSet, objects_per_image: int) -> None:
    epochs = brute_force(3, 60)
    order = Order(data, 3, objects_per_image, THRESHOLD)
    expected = [image for images in epochs for image in images for _ in range(objects_per_image)]
    assert [order.at(position).image for position in range(len(expected))] == expected


def test_an_image_comes_as_often_as_its_factor_says(data: DataSet) -> None:
    epochs = brute_force(5, 1500)
    order = Order(data, 5, repeat_threshold=THRESHOLD)
    assert order.images_per_epoch == pytest.approx(sum(FACTORS), abs=1e-8)
    assert {len(images) for images in epochs} == {7, 8}  # 1.5 + 1 + 2.12 + 1.5 + 1 = 7.12
    counts = Counter(order.at(position).image for position in range(sum(map(len, epochs))))
    for image, factor in enumerate(FACTORS):
        assert counts[image] / 1500 == pytest.approx(factor, abs=0.05)  # four standard deviations of a half
        assert {images.count(image) for images in epochs} == {int(factor), int(np.ceil(factor))}


def test_a_far_position_needs_nothing_before_it(data: DataSet) -> None:
    walker = Order(data, 1, repeat_threshold=THRESHOLD)
    walked = [walker.at(position) for position in range(8000)]  # beyond 1,024 epochs, where the table grows
    for position in (7999, 0, 7400, 7999):
        assert Order(data, 1, repeat_threshold=THRESHOLD).at(position) == walked[position]
        assert walker.at(position) == walked[position]


def test_a_threshold_that_repeats_nothing_changes_nothing(data: DataSet) -> None:
    plain, rare = Order(data, 2), Order(data, 2, repeat_threshold=0.1)
    assert [plain.at(position) for position in range(50)] == [rare.at(position) for position in range(50)]


def test_in_place_of_an_unreadable_image_any_other_may_come(data: DataSet) -> None:
    order = Order(data, 0)
    assert {order.at(3, attempt).image for attempt in range(1, 40)} == {0, 1, 2, 3, 4}
    shared = Order(data, 0, objects_per_image=4)
    assert len({shared.at(position, 1).image for position in range(4)}) == 1, "one photo for all of them again"
