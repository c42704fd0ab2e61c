"""Click maps against their definitions, pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from mfpgan.clicks.encoding import RADIUS_PX, USUAL_RADIUS_PX, standing
from mfpgan.clicks.guidance import click_maps
from mfpgan.types import Click

DRAW = {
    "disk": lambda r, radius: float(r <= radius),
    "gaussian": lambda r, sigma: math.exp(-(r**2) / (2 * sigma**2)) if r <= 6 * sigma else 0.0,
    "distance": lambda r, radius: max(1 - r / radius, 0),
}


def brute_maps(clicks, height, width, shape="disk", radius=5):
    maps = np.zeros((len(clicks), 2, height, width), np.float32)
    for item, channel, y, x in np.ndindex(maps.shape):
        for i, click in enumerate(clicks[item]):
            withdrawn = any((later.y, later.x) == (click.y, click.x) for later in clicks[item][i + 1 :])
            if click.positive == (channel == 0) and not withdrawn:
                value = DRAW[shape](math.hypot(click.y - y, click.x - x), radius)
                maps[item, channel, y, x] = max(maps[item, channel, y, x], value)
    return maps


@pytest.mark.parametrize("shape", DRAW)
@pytest.mark.parametrize("radius", [None, 0.5, 1.0, 2.7, 4.99, 13.3])
def test_equals_the_definition_at_edges_and_overlaps(shape, radius):
    radius = USUAL_RADIUS_PX[shape] if radius is None else radius
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (4, 30), (17, 9), (24, 24)):
        clicks = [
            [Click(int(rng.integers(height)), int(rng.integers(width)), bool(rng.integers(2))) for _ in range(count)]
            for count in (0, 1, 5)
        ]
        clicks[1].append(Click(height - 1, 0, True))
        maps = click_maps(clicks, height, width, shape, radius)
        assert maps.dtype == torch.float32
        np.testing.assert_allclose(maps.numpy(), brute_maps(clicks, height, width, shape, radius), rtol=0, atol=1e-7)
        assert not maps[0].any()


def test_a_free_disk_of_radius_5_has_81_pixels_and_is_the_default():
    maps = click_maps([[Click(10, 10, False)]], 21, 21)
    assert maps.shape == (1, 2, 21, 21)
    assert maps[0, 0].sum() == 0
    assert maps[0, 1].sum() == 81
    assert set(maps.unique().tolist()) == {0, 1}
    assert torch.equal(maps, click_maps([[Click(10, 10, False)]], 21, 21, "disk", RADIUS_PX))


def test_numbers_of_the_other_shapes():
    # r = 0, 5 (3-4-5) and 10 from a click at the corner
    gaussian = click_maps([[Click(0, 0, True)]], 70, 70, "gaussian", 10)[0, 0]
    assert gaussian[0, 0] == 1
    assert gaussian[3, 4] == pytest.approx(math.exp(-1 / 8), abs=1e-7)
    assert gaussian[10, 0] == pytest.approx(math.exp(-1 / 2), abs=1e-7)
    assert 0 < gaussian[60, 0] < 2e-8
    assert gaussian[61, 0] == 0
    distance = click_maps([[Click(0, 0, True), Click(0, 20, True)]], 1, 300, "distance", 255)[0, 0, 0]
    assert distance[0] == distance[20] == 1
    assert distance[5] == distance[15] == pytest.approx(250 / 255, abs=1e-7)
    assert distance[274] == pytest.approx(1 / 255, abs=1e-7)
    assert not distance[275:].any()


def test_the_sizes_of_the_literature():
    assert USUAL_RADIUS_PX == {"disk": 5, "gaussian": 10, "distance": 255}


@pytest.mark.parametrize("shape", DRAW)
def test_the_last_click_on_a_pixel_counts(shape):
    first, other, second = Click(4, 5, True), Click(7, 1, True), Click(4, 5, False)
    assert standing([first, other, second], 9, 9) == [other, second]
    assert standing([first, first], 9, 9) == [first]
    assert standing([second, other, first, second], 9, 9) == [other, second]
    assert standing([], 9, 9) == []
    maps = click_maps([[first, other, second], [first, second], [second, first]], 9, 9, shape, 3)
    assert torch.equal(maps, click_maps([[other, second], [second], [first]], 9, 9, shape, 3))
    assert not maps[1, 0].any()


@pytest.mark.parametrize("shape", DRAW)
@pytest.mark.parametrize(("y", "x"), [(-1, 0), (0, -1), (8, 0), (0, 9)])
def test_a_click_outside_is_an_error(shape, y, x):
    with pytest.raises(ValueError, match=f"y={y}, x={x} lies outside the image of height 8 and width 9"):
        click_maps([[Click(0, 0, True)], [Click(y, x, True)]], 8, 9, shape)
