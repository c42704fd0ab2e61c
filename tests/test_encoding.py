"""Click maps against the definition: 1 within five pixels of a click."""

import numpy as np
import pytest
import torch

from mfpgan.clicks.encoding import click_maps
from mfpgan.types import Click


def brute_maps(clicks, height, width):
    maps = np.zeros((len(clicks), 2, height, width), np.float32)
    for item, channel, y, x in np.ndindex(maps.shape):
        maps[item, channel, y, x] = any(
            (c.y - y) ** 2 + (c.x - x) ** 2 <= 25 for c in clicks[item] if c.positive == (channel == 0)
        )
    return maps


def test_equals_the_definition_at_edges_and_overlaps():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (4, 30), (17, 9), (24, 24)):
        clicks = [
            [Click(int(rng.integers(height)), int(rng.integers(width)), bool(rng.integers(2))) for _ in range(count)]
            for count in (0, 1, 5)
        ]
        clicks[1].append(Click(height - 1, 0, True))
        maps = click_maps(clicks, height, width)
        assert maps.dtype == torch.float32
        np.testing.assert_array_equal(maps.numpy(), brute_maps(clicks, height, width))


def test_a_free_disk_has_81_pixels():
    maps = click_maps([[Click(10, 10, False)]], 21, 21)
    assert maps.shape == (1, 2, 21, 21)
    assert maps[0, 0].sum() == 0
    assert maps[0, 1].sum() == 81


@pytest.mark.parametrize(("y", "x"), [(-1, 0), (0, -1), (8, 0), (0, 9)])
def test_a_click_outside_is_an_error(y, x):
    with pytest.raises(ValueError, match=f"y={y}, x={x} lies outside the image of height 8 and width 9"):
        click_maps([[Click(0, 0, True)], [Click(y, x, True)]], 8, 9)
