"""Zoom-in: views by hand and against a second reading of RITM's rules, and the way into a crop and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mfpgan.clicks.guidance import click_maps
from mfpgan.crop import crop, paste
from mfpgan.types import Click
from mfpgan.zoom import View, clicks_in, crop_size, next_view


def probability(height, width, *boxes):
    """Above one half on the boxes (top, left, bottom, right), exactly one half elsewhere: no part of the mask."""
    answer = np.full((height, width), 0.5, np.float32)
    for top, left, bottom, right in boxes:
        answer[top:bottom, left:right] = 0.51
    return answer


ON, OFF = Click(300, 300, True), Click(0, 0, False)


def test_the_first_click_and_an_empty_mask_see_the_whole_photo():
    last = View(0, 0, 300, 300)
    found = probability(600, 600, (250, 250, 350, 350))
    assert next_view(None, [ON], None) is None
    assert next_view(found, [ON], None) is None
    assert next_view(None, [ON, OFF], last) is None
    assert next_view(probability(600, 600), [ON, OFF], last) is None
    assert next_view(found, [ON, OFF], None) is not None


def test_boxes_by_hand():
    # Rows 300 to 499: middle 399.5, 1.4 * 200 / 2 = 140 to either side, 259.5 and 539.5, rounded to even.
    # Columns 400 to 699: middle 549.5, 210 to either side, 339.5 and 759.5.
    assert next_view(probability(900, 1000, (300, 400, 500, 700)), [OFF, OFF], None) == (260, 340, 541, 761)
    # One pixel: 100 to either side, so 201 pixels.
    assert next_view(probability(900, 1000, (450, 500, 451, 501)), [OFF, OFF], None) == (350, 400, 551, 601)
    # The same in a corner: what the photo's edges cut off is not made up for.
    assert next_view(probability(900, 1000, (0, 999, 1, 1000)), [OFF, OFF], None) == (0, 899, 101, 1000)


def test_positive_clicks_widen_the_box_and_negative_ones_do_not():
    one_pixel = probability(900, 1000, (450, 500, 451, 501))
    # Rows 450 to 849: middle 649.5, 280 to either side, 369.5 and 929.5, cut at 899.
    assert next_view(one_pixel, [OFF, Click(849, 500, True)], None) == (370, 400, 900, 601)
    assert next_view(one_pixel, [OFF, Click(849, 500, False)], None) == (350, 400, 551, 601)


def test_a_withdrawn_positive_click_does_not_widen_the_box():
    one_pixel = probability(900, 1000, (450, 500, 451, 501))
    plus, minus = Click(849, 500, True), Click(849, 500, False)
    assert next_view(one_pixel, [plus, minus], None) == (350, 400, 551, 601)
    assert next_view(one_pixel, [minus, plus], None) == (370, 400, 900, 601)
    last = View(350, 400, 551, 601)
    assert next_view(one_pixel, [plus, minus], last) == last
    assert next_view(one_pixel, [minus, plus], last) != last


@pytest.mark.parametrize("shape", [(150, 120), (1, 1), (100, 1), (200, 201)])
def test_a_photo_below_the_least_view_is_seen_whole(shape):
    middle_y, middle_x = shape[0] // 2, shape[1] // 2
    found = probability(*shape, (middle_y, middle_x, middle_y + 1, middle_x + 1))
    assert next_view(found, [OFF, OFF], None) == (0, 0, *shape)


def test_the_last_view_is_kept_until_it_fits_badly():
    found = probability(900, 900, (350, 350, 550, 550))  # alone it gives (310, 310, 591, 591): 281 by 281
    new = next_view(found, [OFF, OFF], None)
    assert new == (310, 310, 591, 591)
    half, less = View(310, 310, 591, 310 + 562), View(310, 310, 591, 310 + 563)
    assert next_view(found, [OFF, OFF], half) == half
    assert next_view(found, [OFF, OFF], less) == new
    assert next_view(found, [OFF, OFF], View(0, 0, 200, 200)) == new


def test_overlap_is_the_product_of_both_sides():
    found = probability(900, 900, (350, 350, 550, 550))
    # Shifted along the diagonal by 48 the sides overlap by 233 of 329, the product is .5016; by 49 it is 232 of 330 and
    # .4942, although the areas still overlap by .517.
    assert 232**2 / (2 * 281**2 - 232**2) > 0.5
    assert next_view(found, [OFF, OFF], View(262, 262, 543, 543)) == (262, 262, 543, 543)
    assert next_view(found, [OFF, OFF], View(261, 261, 542, 542)) == (310, 310, 591, 591)


def test_views_that_do_not_meet_do_not_overlap():
    found = probability(2000, 2000, (1900, 1900, 1901, 1901))
    assert next_view(found, [OFF, OFF], View(0, 0, 201, 201)) == (1800, 1800, 2000, 2000)


def test_a_positive_click_outside_the_last_view_makes_a_new_one():
    found = probability(900, 900, (350, 350, 550, 550))
    last = View(300, 300, 600, 600)
    for click, inside in (
        (Click(599, 599, True), True),
        (Click(600, 599, True), False),
        (Click(599, 600, True), False),
    ):
        assert (next_view(found, [OFF, click], last) == last) is inside
    for click in (Click(300, 300, True), Click(899, 899, False)):
        assert next_view(found, [OFF, click], last) == last
    assert next_view(found, [OFF, Click(299, 300, True)], last) != last


@pytest.mark.parametrize("click", [Click(-1, 0, True), Click(0, 300, True), Click(300, 0, False), Click(0, -1, False)])
def test_a_click_outside_the_photo_is_refused(click):
    with pytest.raises(ValueError, match="outside the image of height 300 and width 300"):
        next_view(probability(300, 300, (0, 0, 9, 9)), [OFF, click], None)


# A second reading of RITM's rules: boxes as inclusive (first row, last row, first column, last column), pixels as sets.


def twin(previous, clicks, last):
    wanted = {(int(y), int(x)) for y, x in np.argwhere(previous > 0.5)}
    if len(clicks) < 2 or not wanted:
        return None
    positive = [
        c for n, c in enumerate(clicks) if c.positive and not any(c[:2] == later[:2] for later in clicks[n + 1 :])
    ]
    wanted |= {(click.y, click.x) for click in positive}
    box = []
    for axis in (0, 1):
        numbers = [pixel[axis] for pixel in wanted]
        centre = 0.5 * (min(numbers) + max(numbers))
        extent = max(1.4 * (max(numbers) - min(numbers) + 1), 200)
        box += [int(np.clip(np.rint(centre + sign * 0.5 * extent), 0, previous.shape[axis] - 1)) for sign in (-1, 1)]
    if last is None:
        return tuple(box)
    rows, columns = (set(range(last[i], last[i + 1] + 1)) for i in (0, 2))
    if any(click.y not in rows or click.x not in columns for click in positive):
        return tuple(box)
    iou = 1.0
    for old, new in ((rows, set(range(box[0], box[1] + 1))), (columns, set(range(box[2], box[3] + 1)))):
        hull = range(min(old | new), max(old | new) + 1)
        iou *= len(old & new) / len(hull)
    return tuple(box) if iou < 0.5 else last


@st.composite
def moments(draw):
    """A photo's previous answer, clicks, and a last view, as next_view gets them."""
    height, width = draw(st.integers(1, 700)), draw(st.integers(1, 700))

    def stretch(length):
        ends = sorted((draw(st.integers(0, length - 1)), draw(st.integers(0, length - 1))))
        return ends[0], ends[1] + 1

    def box():
        (top, bottom), (left, right) = stretch(height), stretch(width)
        return View(top, left, bottom, right)

    corner = st.sampled_from([(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)])
    pixel = corner | st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    # Few pixels, so that the twin can hold them all: corners of boxes mark the same bounding boxes.
    previous = np.zeros((height, width), np.float32)
    for y, x in draw(st.lists(pixel, max_size=5)):
        previous[y, x] = draw(st.sampled_from([0.5, 0.51, 1.0]))
    clicks = [Click(y, x, draw(st.booleans())) for y, x in draw(st.lists(pixel, min_size=1, max_size=4))]
    return previous, clicks, draw(st.none() | st.just(box()))


@settings(max_examples=150, deadline=None)
@given(moments())
def test_views_equal_the_twin(moment):
    previous, clicks, last = moment
    inclusive = None if last is None else (last.top, last.bottom - 1, last.left, last.right - 1)
    view = next_view(previous, clicks, last)
    got = None if view is None else (view.top, view.bottom - 1, view.left, view.right - 1)
    assert got == twin(previous, clicks, inclusive)


@settings(max_examples=150, deadline=None)
@given(moments())
def test_a_new_view_loses_no_positive_click_and_no_pixel_of_the_mask(moment):
    previous, clicks, _ = moment
    view = next_view(previous, clicks, None)
    if view is not None:
        standing = {click[:2]: click for click in clicks}.values()
        assert all(view.holds(click) for click in standing if click.positive)
        assert all(view.holds(Click(*pixel, False)) for pixel in np.argwhere(previous > 0.5))


def test_the_previous_answer_is_not_written_to():
    found = probability(300, 300, (0, 0, 9, 9))
    found.flags.writeable = False
    assert next_view(found, [OFF, Click(299, 299, True)], None) == (0, 0, 300, 300)


def test_crop_sizes():
    assert crop_size(View(10, 20, 211, 221)) == (400, 400)
    assert crop_size(View(0, 0, 300, 800)) == (150, 400)
    assert crop_size(View(0, 0, 201, 150)) == (400, 299)
    assert crop_size(View(0, 0, 2000, 1)) == (400, 1)
    assert crop_size(View(0, 0, 300, 800), 256) == (96, 256)


def test_a_crop_of_the_right_size_is_the_photo_itself_and_comes_back_exactly():
    photo = torch.rand(2, 3, 500, 600, generator=torch.Generator().manual_seed(0))
    view = View(17, 31, 17 + 300, 31 + 400)
    cut = crop(photo, view)
    assert torch.equal(cut, photo[:, :, 17:317, 31:431])
    whole = paste(cut[:, :1], view, 500, 600)
    assert torch.equal(whole[:, :, 17:317, 31:431], photo[:, :1, 17:317, 31:431])
    whole[:, :, 17:317, 31:431] = 0
    assert whole.shape == (2, 1, 500, 600)
    assert not whole.any()


@pytest.mark.parametrize("view", [View(30, 40, 231, 341), View(0, 0, 700, 900), View(699, 0, 700, 900)])
def test_a_ramp_shows_where_the_pixels_of_a_crop_lie(view):
    ramp = torch.stack(torch.meshgrid(torch.arange(700.0), torch.arange(900.0), indexing="ij"))[None]
    cut = crop(ramp, view)
    height, width = crop_size(view)
    rows = torch.linspace(view.top, view.bottom - 1, height)
    columns = torch.linspace(view.left, view.right - 1, width)
    torch.testing.assert_close(cut[0, 0], rows[:, None].expand(-1, width), rtol=0, atol=1e-3)
    torch.testing.assert_close(cut[0, 1], columns.expand(height, -1), rtol=0, atol=1e-3)
    inside = (..., slice(view.top, view.bottom), slice(view.left, view.right))
    back = paste(cut[:, 1:], view, 700, 900)
    torch.testing.assert_close(back[inside], ramp[:, 1:][inside], rtol=0, atol=2e-3)


@pytest.mark.parametrize("view", [View(0, 0, 201, 201), View(80, 100, 281, 450), View(0, 0, 600, 800)])
def test_a_smooth_probability_survives_the_way_there_and_back(view):
    y, x = torch.meshgrid(torch.arange(600.0), torch.arange(800.0), indexing="ij")
    smooth = torch.sigmoid((150 - torch.hypot(y - 300, x - 350)) / 8)[None, None]
    back = paste(crop(smooth, view), view, 600, 800)
    inside = (..., slice(view.top, view.bottom), slice(view.left, view.right))
    assert (back[inside] - smooth[inside]).abs().max() < 0.01
    assert back.sum() == pytest.approx(float(back[inside].sum()), rel=1e-6)
    assert 0 <= back.min() <= back.max() <= 1


@pytest.mark.parametrize("view", [View(0, 0, 201, 201), View(60, 33, 347, 300), View(0, 0, 600, 900)])
def test_a_click_lies_on_what_was_clicked(view):
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, x = int(rng.integers(view.top, view.bottom)), int(rng.integers(view.left, view.right))
        photo = torch.zeros(1, 1, 600, 900)
        photo[..., max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 1
        ((crop_y, crop_x, positive),) = clicks_in([Click(y, x, True)], view)
        assert positive
        assert crop(photo, view)[0, 0, crop_y, crop_x] == pytest.approx(1, abs=1e-6)


def test_clicks_by_hand():
    view = View(100, 200, 301, 401)  # 201 by 201 pixels, enlarged to 400 by 400: 399 steps for 200
    clicks = [
        Click(100, 200, True),
        Click(300, 400, False),
        Click(99, 300, False),
        Click(200, 301, True),
        Click(301, 300, False),
        Click(200, 401, False),
    ]
    # 100 * 1.995 = 199.5, rounded to even; 101 * 1.995 = 201.495.
    assert clicks_in(clicks, view) == (Click(0, 0, True), Click(399, 399, False), Click(200, 201, True))


def test_clicks_that_meet_in_a_shrunk_crop_stay_apart():
    view = View(0, 0, 801, 801)  # shrunk to 400 by 400: 399 steps for 800
    plus, beside, minus = Click(0, 0, True), Click(0, 1, True), Click(0, 1, False)
    # 1 * .49875 is nearest to column 0, where the first click is; column 1 is the nearest free one.
    assert clicks_in([plus, minus], view) == (Click(0, 0, True), Click(0, 1, False))
    # (0, 1) and (1, 0) are equally near to (0, 0): reading order.
    assert clicks_in([minus, plus], view) == (Click(0, 0, False), Click(0, 1, True))
    # Of clicks on one pixel of the photo the last still withdraws the others.
    assert clicks_in([beside, plus, minus], view) == (Click(0, 0, True), Click(0, 1, True), Click(0, 0, False))
    # 800 by 1 pixels are shrunk to 2 by 1: no room for a third.
    first, second, third = clicks_in([Click(y, 0, True) for y in range(3)], View(0, 0, 800, 1), 2)
    assert (first.y, second.y, third.y) == (0, 1, 0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_clicks_stay_in_the_crop_and_apart(data):
    height, width, size_px = (data.draw(st.integers(1, limit)) for limit in (1000, 1000, 500))
    top, left = data.draw(st.integers(0, 2000)), data.draw(st.integers(0, 2000))
    view = View(top, left, top + height, left + width)
    near = st.integers(0, min(height, 4) - 1), st.integers(0, min(width, 4) - 1)
    anywhere = st.integers(0, height - 1), st.integers(0, width - 1)
    pixels = data.draw(st.lists(st.tuples(*near) | st.tuples(*anywhere), min_size=1, max_size=6))
    clicks = [Click(top + y, left + x, True) for y, x in pixels]
    moved = clicks_in(clicks, view, size_px)
    crop_height, crop_width = crop_size(view, size_px)
    assert click_maps([moved], crop_height, crop_width).sum() >= 1  # raises for a click outside
    assert moved[:1] == clicks_in(clicks[:1], view, size_px)  # earlier clicks do not move for later ones
    places = {(click.y, click.x) for click in moved}
    assert len(places) == min(len(set(pixels)), crop_height * crop_width)
    if crop_height >= height and crop_width >= width:  # enlarged: nobody has to give way
        assert moved == tuple(clicks_in([click], view, size_px)[0] for click in clicks)
