"""Pictures: sizes, colours that must be there, and no trace in matplotlib's global state."""

import sys

import numpy as np
import pytest

from mfpgan import figures
from mfpgan.figures import clicks_curve_figure, confusion_figure, draw_triplet
from mfpgan.metrics import Confusion
from mfpgan.types import Click

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
TARGET, PREDICTION = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
TARGET[10:40, 10:50] = PREDICTION[10:40, 30:70] = True


def has(picture, colour):
    return bool((picture == colour).all(-1).any())


def test_triplet_size_and_untouched_input():
    before = IMAGE.copy()
    picture = draw_triplet(IMAGE, [Click(20, 20, True)], TARGET, PREDICTION)
    assert picture.shape == (20 + 60, 3 * 80 + 12, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(IMAGE, before)


def test_clicks_are_visible_on_their_own_colour_and_at_the_edge():
    for colour in (figures.POSITIVE, figures.NEGATIVE, figures.PAPER, figures.INK):
        image = np.full((60, 80, 3), colour, np.uint8)
        plain = draw_triplet(image, [], TARGET, TARGET)
        for click in (Click(30, 30, True), Click(0, 79, False)):
            assert (plain != draw_triplet(image, [click], TARGET, TARGET)).any(-1).sum() > 10
    panel = draw_triplet(IMAGE, [Click(15, 15, True), Click(45, 60, False)], TARGET, TARGET)[20:, :80]
    assert has(panel, figures.POSITIVE)
    assert has(panel, figures.NEGATIVE)


def test_errors_have_their_colours_but_not_under_ignore():
    grey = np.full((60, 80, 3), 128, np.uint8)
    panel = draw_triplet(grey, [], TARGET, PREDICTION)[20:, -80:]
    found, missed, extra, outside = (panel[y, x].astype(int) for y, x in ((25, 40), (25, 20), (25, 60), (55, 75)))
    assert found[2] > found[0]  # blue
    assert missed[0] > missed[2] + 50  # yellow: red and green
    assert missed[1] > extra[1] + 50  # orange: red alone
    assert extra[0] > extra[2] + 50
    assert len({tuple(colour) for colour in (found, missed, extra, outside)}) == 4
    ignored = draw_triplet(grey, [], TARGET, PREDICTION, ignore=~TARGET)[20:, -80:]
    assert ignored[25, 60].std() == 0


def test_triplet_refuses_masks_of_another_size():
    with pytest.raises(ValueError, match=r"prediction must be \(60, 80\) bool"):
        draw_triplet(IMAGE, [], TARGET, PREDICTION[1:])


def test_empty_and_full_masks_can_be_drawn():
    for mask in (np.zeros((60, 80), bool), np.ones((60, 80), bool)):
        assert draw_triplet(IMAGE, [], TARGET, mask).shape == (80, 252, 3)


@pytest.mark.parametrize("counts", [Confusion(10, 2, 3, 85), Confusion(0, 0, 0, 0), Confusion(10**9, 0, 0, 10**10)])
def test_confusion_figure(counts):
    picture = confusion_figure(counts, "title")
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.dtype == np.uint8
    assert 100 < picture.mean() < 254


def test_curves_and_no_global_state():
    picture = clicks_curve_figure({"a": [(0.2, 0.1, 0.3), (0.5, 0.4, 0.6)], "b": [(0.9, 0.8, 1.0)]}, "title")
    assert picture.shape[2] == 3
    assert has(picture, (0, 0x72, 0xB2))
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    for curves in ({}, {"a": []}, {str(i): [(0.1, 0.1, 0.1)] for i in range(7)}):
        with pytest.raises(ValueError, match="1 to 6 curves"):
            clicks_curve_figure(curves, "title")
