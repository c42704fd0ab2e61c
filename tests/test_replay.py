"""Requests that bring all clicks are answered as a session answers them, whatever was asked before."""

import io
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from test_session import Paint, Remember
from torch import nn

from mfpgan.apps import replay as module
from mfpgan.apps.replay import MOST_CLICKS, Photo, Replay, box_at, number_of, pixel_at
from mfpgan.inference import TorchEngine
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.types import Click, ClickEncoding, InputError
from mfpgan.zoom import View, next_view

RGB = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)


def png_of(rgb):
    file = io.BytesIO()
    PillowImage.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


PNG = png_of(RGB)


class Halves(nn.Module):
    """The real network, untrained, with half of the pixels above .5: by itself it says about the same everywhere."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = MFPResNetUNet(0.1, ClickEncoding(memory="modulated"))
        self.click_encoding = self.network.click_encoding

    def forward(self, image, guidance):
        logits = self.network(image, guidance)
        return 20 * (logits - logits.median())


def halves():
    return TorchEngine(Halves(), zoom=True, zoom_px=32)


@pytest.fixture(scope="module")
def engine():
    return halves()


def in_a_session(engine, clicks, rgb=RGB):
    session = ClickSession(engine)
    session.set_image(rgb)
    for click in clicks:
        session.click(*click)
    return session.probability


CLICKS = st.lists(st.builds(Click, st.integers(0, 69), st.integers(0, 89), st.booleans()), max_size=3)


def test_the_answer_is_a_sessions_and_going_on_costs_one_answer(engine):
    replay = Replay(engine)
    photo = replay.photo(PNG, "image")
    np.testing.assert_array_equal(photo.rgb, RGB)
    clicks = [Click(30, 40, True), Click(10, 10, False), Click(60, 80, True)]
    for number in range(4):
        answer = replay.probability(replay.photo(PNG, "image"), clicks[:number])
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, in_a_session(engine, clicks[:number]))
        assert replay.answers == number
    assert len(np.unique(answer)) > 100, "the network does not say the same everywhere"
    replay.probability(photo, clicks[:2])  # taken back
    assert replay.answers == 3
    replay.probability(photo, [*clicks[:2], Click(0, 0, False)])
    assert replay.answers == 4


@settings(max_examples=25, deadline=None)
@given(requests=st.lists(CLICKS, min_size=1, max_size=4), boxes=st.lists(st.booleans(), min_size=4, max_size=4))
def test_what_was_asked_before_changes_no_bit(engine, requests, boxes):
    warm = Replay(engine)
    for clicks, boxed in zip(requests, boxes, strict=False):
        box = View(20, 30, 50, 60) if boxed else None
        fresh = Replay(engine)
        np.testing.assert_array_equal(
            warm.probability(warm.photo(PNG, "image"), clicks, box),
            fresh.probability(fresh.photo(PNG, "image"), clicks, box),
        )


def test_an_answer_is_the_callers_own(engine):
    replay = Replay(engine)
    photo = replay.photo(PNG, "image")
    for box in (None, View(5, 5, 60, 60)):
        first = replay.probability(photo, [Click(30, 40, True)], box)
        kept = first.copy()
        first[:] = 7
        np.testing.assert_array_equal(replay.probability(photo, [Click(30, 40, True)], box), kept)


def test_photos_are_told_apart_by_their_bytes(engine):
    replay = Replay(engine)
    other = RGB.copy()
    other[0, 0, 0] ^= 1
    for rgb in (RGB, other, RGB[:, ::-1]):
        answer = replay.probability(replay.photo(png_of(rgb), "image"), [Click(30, 40, True)])
        np.testing.assert_array_equal(answer, in_a_session(engine, [Click(30, 40, True)], rgb))
    assert replay.answers == 3


def test_what_is_remembered_is_bounded_and_forgetting_changes_no_answer(engine, monkeypatch):
    monkeypatch.setattr(module, "KEPT_PIXELS", 2 * 70 * 90)
    monkeypatch.setattr(module, "KEPT_STATES", 3)
    replay = Replay(engine)
    photos = [replay.photo(png_of(np.roll(RGB, number, 0)), "image") for number in range(4)]
    assert [key[0] for key in replay._kept] == [photo.digest for photo in photos[2:]]
    clicks = [Click(9 * number, 11 * number, number % 3 != 1) for number in range(6)]
    np.testing.assert_array_equal(replay.probability(photos[0], clicks), in_a_session(engine, clicks, photos[0].rgb))
    assert list(replay._kept[photos[0].digest, None].known) == [tuple(clicks[:number]) for number in (4, 5, 6)]
    assert replay.answers == 6
    another = Click(1, 2, True)
    replay.probability(photos[0], [*clicks[:4], another])
    assert list(map(len, replay._kept[photos[0].digest, None].known)) == [6, 4, 5], "what was gone on from is used"
    replay.probability(photos[0], clicks[:1])  # forgotten: from the start again
    assert replay.answers == 8
    monkeypatch.setattr(module, "KEPT_PIXELS", 10)  # the one in use stays
    replay.probability(photos[1], clicks[:1])
    assert list(replay._kept) == [(photos[1].digest, None)]


def test_many_at_once_get_each_their_own_answer(engine):
    replay = Replay(engine)
    rgbs = [np.roll(RGB, number, 1) for number in range(4)]
    wanted = [in_a_session(engine, [Click(30, 40, True), Click(5, 6 + n, False)], rgb) for n, rgb in enumerate(rgbs)]
    wrong = []

    def person(number):
        for count in (1, 2, 2, 1, 2):
            photo = replay.photo(png_of(rgbs[number]), "image")
            answer = replay.probability(photo, [Click(30, 40, True), Click(5, 6 + number, False)][:count])
            if count == 2 and not np.array_equal(answer, wanted[number]):
                wrong.append(number)

    people = [threading.Thread(target=person, args=(number,)) for number in (0, 1, 2, 3) * 2]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert wrong == []
    assert replay.answers == 8, "two for each photo"


def test_too_many_clicks_are_refused(engine):
    replay = Replay(engine)
    photo = replay.photo(PNG, "image")
    with pytest.raises(InputError, match=r"has 101 clicks, expected at most 100; take some back\."):
        replay.probability(photo, [Click(1, 1, True)] * (MOST_CLICKS + 1))
    assert replay.answers == 0


BOX = View(300, 300, 400, 350)
LARGE = np.zeros((900, 900, 3), np.uint8)


@pytest.fixture
def boxed():
    """A replay whose network paints disks of radius 5, and a photo much larger than its box."""
    replay = Replay(TorchEngine(Paint()))
    return replay, replay.photo(png_of(LARGE), "image")


def test_a_box_shows_the_view_that_zoom_takes_of_it_and_ends_the_mask(boxed):
    replay, photo = boxed
    answer = replay.probability(photo, [Click(302, 310, True)], BOX)
    (image, maps) = replay.engine.generator.calls[-1]
    mask = np.zeros((900, 900), np.float32)
    mask[300:400, 300:350] = 1
    view = next_view(mask, [Click(302, 310, True)], None, 0)
    assert view == View(250, 224, 451, 425)
    assert image.shape[-2:] == (201, 201)
    assert maps[0, 0, 302 - 250, 310 - 224] == 1
    disk = in_a_session(replay.engine, [Click(302, 310, True)], LARGE)
    np.testing.assert_array_equal(answer[300:400, 300:350], disk[300:400, 300:350])
    assert (disk[295:300] > 0.5).any(), "without the box it reaches further"
    answer[300:400, 300:350] = 0
    assert not answer.any()


def test_in_a_box_without_a_positive_click_the_middle_counts_as_one(boxed):
    replay, photo = boxed
    middle = Click(349, 324, True)
    one = replay.probability(photo, [], BOX)
    np.testing.assert_array_equal(one, replay.probability(photo, [middle], BOX))
    assert one[349, 324] > 0.5
    less = replay.probability(photo, [Click(349, 330, False)], BOX)
    np.testing.assert_array_equal(less, replay.probability(photo, [middle, Click(349, 330, False)], BOX))


def test_clicks_outside_a_box(boxed):
    replay, photo = boxed
    inside = Click(350, 325, True)
    wide = replay.probability(photo, [inside, Click(600, 320, True)], BOX)
    np.testing.assert_array_equal(
        wide, replay.probability(photo, [inside, Click(600, 320, True)], View(300, 300, 601, 350))
    )
    assert wide[600, 320] > 0.5
    assert not wide[601:].any(), "the box is widened to the click and no further"
    alone = replay.probability(photo, [inside], BOX)
    asked = replay.answers
    np.testing.assert_array_equal(replay.probability(photo, [inside, Click(10, 10, False)], BOX), alone)
    assert replay.answers == asked, "a negative click that the network would not see is left out"
    withdrawn = [inside, Click(800, 320, True), Click(800, 320, False)]
    assert replay.probability(photo, withdrawn, BOX)[350, 325] > 0.5


def test_a_box_holds_pixels_in_a_network_with_memory_too():
    engine = TorchEngine(Remember("modulated"), zoom=True, zoom_px=64)
    replay = Replay(engine)
    photo = replay.photo(PNG, "image")
    clicks = [Click(30, 40, True), Click(32, 44, False), Click(41, 52, True)]
    answer = replay.probability(photo, clicks, View(25, 35, 45, 55))
    view = View(0, 0, 70, 90)  # at least 200 pixels, cut at the photo's edges
    session = in_a_session(engine, clicks, RGB[view.top : view.bottom, view.left : view.right])
    np.testing.assert_array_equal(answer[25:45, 35:55], session[25:45, 35:55])
    assert answer[:25].max() == answer[45:].max() == answer[:, :35].max() == answer[:, 55:].max() == 0


PHOTO = Photo("", RGB)


@pytest.mark.parametrize(
    ("x", "y", "pixel"),
    [
        (0, 0, (0, 0)),
        (3.999, 4, (4, 3)),
        (89.99, 69.99, (69, 89)),
        (90, 70, (69, 89)),  # 100 % of both sides
        (-0.5, -1, (0, 0)),
        (90.99, 70.5, (69, 89)),
    ],
)
def test_a_place_lies_on_a_pixel(x, y, pixel):
    assert pixel_at(x, y, PHOTO, "a place") == pixel


@pytest.mark.parametrize(("x", "y"), [(-1.01, 3), (91, 3), (3, 71), (3, -1e8)])
def test_places_outside_are_refused(x, y):
    with pytest.raises(InputError, match=r"a place: x=.*, y=.* lies outside the image of width 90 and height 70"):
        pixel_at(x, y, PHOTO, "a place")


@pytest.mark.parametrize("value", [None, True, "3", [3], float("nan"), float("inf"), -float("inf"), 10**400, {}])
def test_what_is_no_number(value):
    with pytest.raises(InputError, match=r"^x: expected a number, got .{1,100}\.$"):
        number_of(value, "x")


@pytest.mark.parametrize(
    ("first", "second", "box"),
    [
        ((3, 4), (5, 9), View(4, 3, 9, 5)),
        ((5, 4), (3, 9), View(4, 3, 9, 5)),
        ((3.5, 4.2), (5.1, 9.9), View(4, 3, 10, 6)),
        ((3, 4), (3, 4), View(4, 3, 5, 4)),  # a point is a pixel
        ((3.2, 4), (3.4, 4.5), View(4, 3, 5, 4)),
        ((0, 0), (90, 70), View(0, 0, 70, 90)),
        ((-0.5, -0.5), (90.5, 70.5), View(0, 0, 70, 90)),
        ((90, 70), (90, 70), View(69, 89, 70, 90)),
    ],
)
def test_a_box_is_the_pixels_that_it_touches(first, second, box):
    assert box_at(first, second, PHOTO, "a box") == box


def test_what_is_no_photo_is_refused(engine):
    with pytest.raises(InputError, match=r"^image: not readable as a picture"):
        Replay(engine).photo(b"nothing", "image")
