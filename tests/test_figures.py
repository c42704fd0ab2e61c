"""Pictures: sizes, colours that must be there, and no trace in matplotlib's global state."""

import sys

import numpy as np
import pytest

from mfpgan.figures import Tile, clicks_curve_figure, confusion_figure, contact_sheet, draw_triplet, drawing
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
    for colour in (drawing.POSITIVE, drawing.NEGATIVE, drawing.PAPER, drawing.INK):
        image = np.full((60, 80, 3), colour, np.uint8)
        plain = draw_triplet(image, [], TARGET, TARGET)
        for click in (Click(30, 30, True), Click(0, 79, False)):
            assert (plain != draw_triplet(image, [click], TARGET, TARGET)).any(-1).sum() > 10
    panel = draw_triplet(IMAGE, [Click(15, 15, True), Click(45, 60, False)], TARGET, TARGET)[20:, :80]
    assert has(panel, drawing.POSITIVE)
    assert has(panel, drawing.NEGATIVE)


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


SIDE = 200
GREY = np.full((SIDE, SIDE, 3), 128, np.uint8)
SQUARE = np.zeros((SIDE, SIDE), bool)
SQUARE[50:150, 50:150] = True
ANSWER = np.roll(SQUARE, 30, axis=1)  # columns 80 to 179: 50 to 79 are missed, 150 to 179 too much


def tile(clicks=(), turns=(), prediction=None, ignore=None, image=GREY, target=SQUARE, words=""):
    return Tile(image, clicks, turns, target, prediction, ignore, words)


def photo(one, side=SIDE):
    """The tile of a sheet of one: it ends 12 + 20 pixels above the bottom and starts 12 pixels from the left."""
    sheet = contact_sheet([one], 1, "title")
    return sheet[-32 - side : -32, 12 : 12 + side]


def test_sheet_size_and_places_of_the_tiles():
    colours = [(200, 10 * number, 0) for number in range(5)]
    tiles = [tile(image=np.full((SIDE, SIDE, 3), colour, np.uint8)) for colour in colours]
    sheet = contact_sheet(tiles, 3, "short")
    # Head: 12 of margin, a title line of 24, the legend's 20 (it fits 620 pixels), a gap of 10.
    assert sheet.shape == (66 + 220 + 10 + 220 + 12, 12 + 200 + 10 + 200 + 10 + 200 + 12, 3)
    assert sheet.dtype == np.uint8
    corners = [(66, 12), (66, 222), (66, 432), (296, 12), (296, 222)]
    for (y, x), colour in zip(corners, colours, strict=True):
        assert tuple(sheet[y, x]) == tuple(sheet[y + 199, x + 199]) == colour
        assert tuple(sheet[y - 1, x]) == tuple(sheet[y, x - 1]) == tuple(sheet[y, x + 200]) == drawing.PAPER
    assert (sheet[296:, 432:] == 255).all(), "the sixth place is empty"


def test_a_long_title_is_broken_and_nothing_of_it_is_lost():
    short, long = contact_sheet([tile()] * 3, 3, "word"), contact_sheet([tile()] * 3, 3, "word " * 40)
    assert (len(long) - len(short)) % 24 == 0
    assert len(long) > len(short)
    assert (long[:, -12:] == 255).all()


def test_a_narrow_sheet_breaks_the_legend():
    wide, narrow = contact_sheet([tile()] * 3, 3, "t"), contact_sheet([tile()], 1, "t")
    assert len(narrow) > len(wide)
    assert (len(narrow) - len(wide)) % 20 == 0


def test_small_tiles_are_enlarged_with_their_masks_and_clicks():
    small = tile([Click(60, 10, True)], [1], image=GREY[:64, :64], target=SQUARE[:64, :64])
    large = photo(small, 192)  # threefold: the object starts at 150, the click's middle is (181, 31)
    assert contact_sheet([small], 1, "t").shape[1] == 192 + 24
    assert tuple(large[150, 170]) == drawing.PAPER
    assert tuple(large[145, 170]) == (128, 128, 128)
    green = (large == drawing.POSITIVE).all(-1).nonzero()
    assert abs(green[1].mean() - 31) < 1
    assert abs(green[0].mean() - 181) < 1


def test_the_outline_runs_along_the_object_and_the_photo_stays():
    seen = photo(tile())
    for y, x in ((50, 50), (50, 100), (149, 100), (100, 50), (100, 149)):
        assert tuple(seen[y, x]) == drawing.PAPER
    for y, x in ((100, 100), (53, 100), (46, 100), (0, 0), (199, 199)):
        assert tuple(seen[y, x]) == (128, 128, 128)


def test_errors_are_tinted_where_they_are_and_what_was_found_keeps_its_colour():
    colour = (250, 120, 10)  # an orange photo
    image = np.full((SIDE, SIDE, 3), colour, np.uint8)
    seen = photo(tile(prediction=ANSWER, image=image)).astype(int)
    missed, found, extra, rest = seen[100, 65], seen[100, 110], seen[100, 165], seen[20, 20]
    assert tuple(found) == colour
    assert rest.std() == 0, "grey"
    assert min(missed[0], missed[1]) > missed[2] + 50  # yellow
    assert extra[0] > extra[1] + 50 > extra[2]  # orange
    assert abs(extra - found).max() > 40, "an error stands out even from an orange photo"
    band = np.zeros_like(SQUARE)
    band[:, 155:] = True
    assert photo(tile(prediction=ANSWER, ignore=band, image=image))[100, 165].std() == 0
    assert (photo(tile(image=image))[100, 165] == colour).all(), "no answer, no errors"


def test_a_click_alone_in_its_turn_has_a_number_and_several_are_dots():
    positive, negative = Click(100, 100, True), Click(20, 180, False)
    numbered = photo(tile([positive, negative], [1, 2]))
    dots = photo(tile([positive, negative], [1, 1]))
    for click in (positive, negative):
        colour = drawing.POSITIVE if click.positive else drawing.NEGATIVE
        around = np.s_[click.y - 6 : click.y + 7, click.x - 6 : click.x + 7]
        many, few = ((view[around] == colour).all(-1).sum() for view in (numbered, dots))
        assert many > 1.5 * few > 30
        assert tuple(dots[click.y, click.x]) == colour, "nothing is written on a dot"
        assert (numbered[around] != colour).any(-1).sum() > 20, "the number"
    corner = dots[20 - 3, 180 - 3], dots[100 - 3, 100 - 3]
    assert tuple(corner[0]) == drawing.NEGATIVE, "a square has corners"
    assert tuple(corner[1]) != drawing.POSITIVE, "a disk has none"
    one, two = photo(tile([positive], [1])), photo(tile([positive], [2]))
    assert (one != two).any(), "another number"
    assert (one != two).any(-1).nonzero()[0].min() > 100 - 8


def test_clicks_at_the_edge_are_cut_and_stay_in_their_tile():
    corners = [Click(0, 0, True), Click(199, 199, False), Click(0, 199, True)]
    marked, plain = contact_sheet([tile(corners, [1, 2, 3])], 1, "t"), contact_sheet([tile()], 1, "t")
    changed = (marked != plain).any(-1).nonzero()
    bottom = len(plain) - 32
    assert (changed[0].min(), changed[0].max()) == (bottom - 200, bottom - 1)
    assert (changed[1].min(), changed[1].max()) == (12, 211)


def test_captions_stand_under_their_tiles():
    sheet = contact_sheet([tile(words="one"), tile()], 2, "t")
    assert (sheet[-32:-12, 12:60] < 100).any()
    assert (sheet[-32:, 222:] == 255).all()


def test_many_clicks_of_one_turn_leave_the_photo_to_be_seen():
    rng = np.random.default_rng(0)
    clicks = [Click(int(y), int(x), bool(k % 2)) for k, (y, x) in enumerate(rng.integers(0, SIDE, (48, 2)))]
    assert (photo(tile(clicks, [1] * 48)) != photo(tile())).any(-1).mean() < 0.15


def test_a_sheet_refuses_what_it_cannot_lay_out():
    for tiles, columns in (([], 1), ([tile()], 0), ([tile(), tile(image=GREY[:100], target=SQUARE[:100])], 2)):
        with pytest.raises(ValueError, match="tiles of one size"):
            contact_sheet(tiles, columns, "t")
    with pytest.raises(ValueError, match="number of its turn"):
        tile([Click(0, 0, True)], [])
    with pytest.raises(ValueError, match=r"prediction must be \(200, 200\) bool"):
        tile(prediction=ANSWER[1:])
