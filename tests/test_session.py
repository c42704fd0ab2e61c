"""The session with stand-in networks whose answers a reader can compute."""

import numpy as np
import pytest
import torch
from torch import nn

from mfpgan.clicks.guidance import click_maps
from mfpgan.clicks.modulation import modulate
from mfpgan.crop import crop, paste
from mfpgan.inference import Shown, canvas, predict, predict_each
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.types import Click, ClickEncoding
from mfpgan.zoom import View

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


class Paint(nn.Module):
    """Logit 4 on positive disks, -4 elsewhere; remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def forward(self, image, maps):
        self.calls.append((image, maps))
        return self.drop(8 * maps[:, :1] - 8 * maps[:, 1:] - 4)


class Multiply(nn.Module):
    """Answers in the autocast dtype."""

    def forward(self, image, maps):
        logits = torch.einsum("bchw,oc->bohw", image, torch.ones(1, 3))
        assert logits.dtype == (torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        return logits


@pytest.fixture
def session():
    session = ClickSession(Paint().train())
    session.set_image(RGB)
    return session


def test_click_answers_at_image_size(session):
    prob = session.click(10, 12, True)
    assert prob.shape == (20, 30)
    assert prob.dtype == np.float32
    assert session.mask.sum() == 81
    assert session.mask.dtype == np.bool_
    np.testing.assert_array_equal(session.mask, prob > 0.5)
    assert session.clicks == (Click(10, 12, True),)


def test_no_mask_before_the_first_click(session):
    assert session.mask.shape == (20, 30)
    assert not session.mask.any()
    assert session.clicks == ()


def test_the_network_sees_eval_mode_and_pixels_in_unit_range(session):
    session.click(3, 4, True)
    session.click(5, 6, False)
    image, maps = session.engine.generator.calls[-1]
    assert not session.engine.generator.training
    assert image.shape == (1, 3, 20, 30)
    np.testing.assert_array_equal(image[0].permute(1, 2, 0).numpy(), RGB.astype(np.float32) / 255)
    assert maps[0, 0, 3, 4] == maps[0, 1, 5, 6] == 1


def test_undo_and_reset_return_to_what_was(session):
    session.reset()
    first = session.click(10, 12, True)
    session.click(10, 20, False)
    np.testing.assert_array_equal(session.undo(), first)
    assert session.clicks == (Click(10, 12, True),)
    assert session.mask.sum() == 81
    assert not session.undo().any()
    assert not session.undo().any()  # nothing to undo is no error
    session.click(1, 1, True)
    session.reset()
    assert session.clicks == ()
    assert not session.mask.any()


def test_a_new_image_starts_without_clicks(session):
    session.click(10, 12, True)
    session.set_image(RGB[:9, :8])
    assert session.clicks == ()
    assert session.mask.shape == (9, 8)


def test_a_wrong_click_leaves_no_trace(session):
    session.click(10, 12, True)
    with pytest.raises(ValueError, match="y=20, x=0 lies outside the image of height 20 and width 30"):
        session.click(20, 0, True)
    assert session.clicks == (Click(10, 12, True),)
    assert session.mask.sum() == 81


@pytest.mark.parametrize("bad", [RGB[:, :, 0], RGB.astype(np.float32), RGB[:, :, :2], RGB[:0]])
def test_wrong_images_are_refused(session, bad):
    with pytest.raises(ValueError, match="image must be"):
        session.set_image(bad)


def test_an_image_comes_first():
    session = ClickSession(Paint())
    for action in (lambda: session.click(0, 0, True), session.undo, lambda: session.mask):
        with pytest.raises(ValueError, match="no image is set"):
            action()


def test_precision():
    image = torch.rand(2, 3, 6, 7)
    clicks = [[Click(0, 0, True)]] * 2
    full, half = (predict(Multiply(), image, clicks, precision) for precision in ("fp32", "bf16"))
    assert full.dtype == half.dtype == torch.float32
    torch.testing.assert_close(full, image.sum(1, keepdim=True).sigmoid())
    torch.testing.assert_close(full, half, atol=0.01, rtol=0)
    for make in (lambda: ClickSession(Paint(), precision="fp16"), lambda: predict(Paint(), image, [[], []], "auto")):
        with pytest.raises(ValueError, match="precision must be fp32 or bf16"):
            make()


class Remember(nn.Module):
    """Logit 8 (q - 1/2), q the last guidance channel plus 0.6 on positive and minus 0.6 on negative disks."""

    def __init__(self, memory):
        super().__init__()
        self.click_encoding = ClickEncoding(memory=memory)
        self.seen = []

    def forward(self, image, guidance):
        self.seen.append(guidance.clone())
        last = guidance[:, -1:] if guidance.shape[1] > 2 else 0
        return 8 * (last + 0.6 * (guidance[:, :1] - guidance[:, 1:2]) - 0.5)


@pytest.mark.parametrize(("memory", "channels", "passes"), [("none", 2, 1), ("previous", 3, 1), ("modulated", 4, 2)])
def test_memory_is_fed_as_the_generator_asks(memory, channels, passes):
    session = ClickSession(Remember(memory))
    session.set_image(RGB)
    session.click(10, 12, True)
    seen = session.engine.generator.seen
    assert [guidance.shape[1] for guidance in seen] == [channels] * passes  # MFP answers the first click twice
    assert not seen[0][:, 2:].any()
    first = session.click(4, 20, True)
    assert len(seen) == passes + 1
    session.click(10, 20, False)
    if memory != "none":
        np.testing.assert_array_equal(seen[-1][0, 2].numpy(), first)
    if memory == "modulated":
        clicks = [[Click(10, 12, True), Click(4, 20, True), Click(10, 20, False)]]
        torch.testing.assert_close(seen[-1][:, 3:], modulate(torch.from_numpy(first)[None, None], clicks))


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_undo_brings_the_memory_back_too(memory):
    session, straight = (ClickSession(Remember(memory)) for _ in range(2))
    for one in (session, straight):
        one.set_image(RGB)
        one.click(10, 12, True)
    session.click(11, 20, False)
    session.undo()
    np.testing.assert_array_equal(session.click(5, 6, True), straight.click(5, 6, True))


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_negative_clicks_alone_give_an_empty_mask(memory):
    class Everything(Remember):
        def forward(self, image, guidance):
            return guidance[:, :1] * 0 + 5

    session = ClickSession(Everything(memory))
    session.set_image(RGB)
    assert not session.click(3, 3, False).any()
    assert not session.click(9, 9, False).any()
    assert session.click(12, 12, True).all()  # the first positive click frees the answer
    previous = torch.rand(1, 1, 20, 30)
    prob = predict(session.engine.generator, torch.zeros(1, 3, 20, 30), [[Click(3, 3, False)]], previous=previous)
    assert (prob <= previous).all()


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_a_withdrawn_positive_click_frees_nothing(memory):
    class Everything(Remember):
        def forward(self, image, guidance):
            return guidance[:, :1] * 0 + 5

    network, photo, previous = Everything(memory), torch.zeros(1, 3, 20, 30), torch.rand(1, 1, 20, 30)
    plus, minus = Click(3, 3, True), Click(3, 3, False)
    assert not predict(network, photo, [[plus, minus]]).any()
    assert (predict(network, photo, [[plus, minus]], previous=previous) <= previous).all()
    assert (predict(network, photo, [[minus, plus]], previous=previous) > 0.9).all()
    session = ClickSession(network)
    session.set_image(RGB)
    assert session.click(*plus).all()
    assert not session.click(*minus).any()  # as if it were alone
    assert session.click(9, 9, True).all()


def test_the_first_positive_click_is_answered_twice_whatever_came_before():
    session = ClickSession(Remember("modulated"))
    session.set_image(RGB)
    seen, passes = session.engine.generator.seen, []
    # The fourth and the fifth withdraw both positive clicks, so the last one is a first again.
    for click in [(3, 3, False), (10, 12, True), (10, 20, True), (10, 12, False), (10, 20, False), (15, 25, True)]:
        before = len(seen)
        answer = session.click(*click)
        passes.append(len(seen) - before)
    assert passes == [2, 2, 1, 1, 2, 2]
    alone = ClickSession(Remember("modulated"))
    alone.set_image(RGB)
    for click in [(3, 3, False), (10, 12, False), (10, 20, False)]:
        alone.click(*click)
    np.testing.assert_array_equal(alone.click(15, 25, True), answer)


def test_of_several_clicks_on_a_pixel_the_last_counts(session):
    session.click(10, 12, False)
    session.click(10, 12, True)
    assert session.mask.sum() == 81
    session.click(10, 12, False)
    assert not session.mask.any()
    assert len(session.clicks) == 3


def test_what_a_session_hands_out_may_be_drawn_on(session):
    prob = session.click(10, 12, True)
    prob[:] = 0
    assert session.mask.sum() == 81


def test_predict_gives_each_image_its_own_clicks():
    prob = predict(Paint(), torch.zeros(2, 3, 20, 20), [[Click(9, 9, True)], []])
    assert prob.shape == (2, 1, 20, 20)
    assert (prob > 0.5).sum(dim=(1, 2, 3)).tolist() == [81, 0]


def test_forward_seconds_count_the_network(session):
    assert session.forward_seconds == 0
    session.click(1, 2, True)
    once = session.forward_seconds
    assert once > 0
    session.click(3, 4, True)
    assert session.forward_seconds > once


PHOTO = np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8)
ON, NEAR = (200, 200, True), (220, 210, True)
# The answer to ON is a disk of radius 5, rows and columns 195 to 205. With NEAR the rows end at 220, the columns at 210:
# middles 207.5 and 202.5, 100 to either side, rounded to even. 201 by 201 pixels are enlarged to 400 by 400, so 399 steps
# stand for 200.
VIEW = View(108, 102, 309, 303)
IN_CROP = [Click(184, 196, True), Click(223, 215, True)]  # 92, 98, 112 and 108 times 1.995


class Look(Remember):
    """Remembers the photos too."""

    def __init__(self, memory):
        super().__init__(memory)
        self.photos = []

    def forward(self, image, guidance):
        self.photos.append(image)
        return super().forward(image, guidance)


def test_everything_is_seen_at_the_size_that_zoom_asks_for():
    session = ClickSession(Look("previous"), zoom=True, zoom_px=150)
    session.set_image(PHOTO)
    assert session.click(*ON).shape == (400, 400)
    session.click(*NEAR)
    assert [tuple(photo.shape) for photo in session.engine.generator.photos] == [(1, 3, 150, 150)] * 2


def close_up(memory):
    session = ClickSession(Look(memory), zoom=True)
    session.set_image(PHOTO)
    return session


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_zoom_shows_the_network_the_view_alone(memory):
    session = close_up(memory)
    whole = torch.from_numpy(session.click(*ON))[None, None]
    photo = torch.from_numpy(PHOTO.transpose(2, 0, 1)[None]).float() / 255
    assert torch.equal(session.engine.generator.photos[-1], photo)  # the whole photo, of the right size as it is
    prob = session.click(*NEAR)
    guidance = session.engine.generator.seen[-1]
    seen = crop(photo, VIEW)
    assert torch.equal(session.engine.generator.photos[-1], seen)
    assert torch.equal(guidance[:, :2], click_maps([IN_CROP], 400, 400))
    before = crop(whole, VIEW)
    if memory != "none":
        assert torch.equal(guidance[:, 2:3], before)
    if memory == "modulated":
        assert torch.equal(guidance[:, 3:], modulate(before, [IN_CROP]))
    answer = Remember(memory)(seen, guidance).sigmoid()
    np.testing.assert_array_equal(prob, paste(answer, VIEW, 400, 400)[0, 0].numpy())
    inside = np.zeros((400, 400), bool)
    inside[VIEW.top : VIEW.bottom, VIEW.left : VIEW.right] = True
    assert (prob > 0).sum() == inside.sum()
    assert not prob[~inside].any()


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_undo_brings_the_view_back_too(memory):
    session, straight = close_up(memory), close_up(memory)
    for one in (session, straight):
        one.click(*ON)
        one.click(*NEAR)
    session.click(20, 390, True)  # far away: another view
    assert session.engine.generator.photos[-1].shape != session.engine.generator.photos[-2].shape
    session.undo()
    for click in [(230, 200, False), (210, 210, True)]:
        np.testing.assert_array_equal(session.click(*click), straight.click(*click))
        assert torch.equal(session.engine.generator.photos[-1], straight.engine.generator.photos[-1])


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_a_click_outside_the_view_changes_nothing_and_keeps_it(memory):
    session = close_up(memory)
    session.click(*ON)
    before = session.click(*NEAR)
    passes = len(session.engine.generator.seen)
    np.testing.assert_array_equal(session.click(5, 5, False), before)
    assert len(session.engine.generator.seen) == passes
    assert session.clicks[-1] == Click(5, 5, False)
    session.click(200, 220, False)  # inside
    assert torch.equal(session.engine.generator.photos[-1], session.engine.generator.photos[-2])
    assert session.engine.generator.seen[-1][0, 1].sum() == 81
    np.testing.assert_array_equal(session.undo(), before)


def unet(memory="none"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MFPResNetUNet(0.05, ClickEncoding(memory=memory)).eval()


def test_a_canvas_is_the_next_multiple_of_the_stride():
    assert canvas(unet(), 321, 481) == (352, 512)
    assert canvas(unet(), 64, 32) == (64, 32)
    assert canvas(Paint(), 321, 481) == (321, 481)


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_pictures_of_any_size_and_age_are_answered_as_if_alone(memory):
    network, seen = unet(memory), []
    network.register_forward_hook(lambda module, arguments, answer: seen.append(tuple(arguments[0].shape)))
    chance = torch.Generator().manual_seed(0)
    shown = []
    for number, size in enumerate([(50, 70), (64, 90), (50, 70), (30, 20), (60, 80)]):
        clicks = [Click(9, 9, number != 4), Click(5 + number, 6, number == 2)]  # the last only takes away
        previous = torch.rand(1, 1, *size, generator=chance) if number % 2 else None
        shown.append(Shown(torch.rand(1, 3, *size, generator=chance), clicks, previous))
    together = predict_each(network, shown)
    first = [(3, 3, 60, 80)] if memory == "modulated" else []  # of those without a previous answer
    assert seen == [*first, (4, 3, 64, 90), (1, 3, 30, 20)], "the canvas of four is 64 x 96"
    for one, prob in zip(shown, together, strict=True):
        alone = predict(network, one.image, [one.clicks], previous=one.previous)
        assert prob.shape == alone.shape
        torch.testing.assert_close(prob, alone, atol=1e-4, rtol=0)
    assert not together[-1].any()


def test_a_pass_on_a_cpu_has_so_many_pixels(monkeypatch):
    network = Look("none")
    shown = [Shown(torch.full((1, 3, 8, 4), number / 10), [Click(1, 2, True)], None) for number in range(5)]
    for pixels, sizes in [(5 * 32, [5]), (3 * 32 - 1, [2, 2, 1]), (31, [1] * 5)]:
        monkeypatch.setattr("mfpgan.inference.CPU_PIXELS", pixels)
        network.photos.clear()
        assert len(predict_each(network, shown)) == 5
        assert [len(photos) for photos in network.photos] == sizes
        assert torch.equal(torch.cat(network.photos), torch.cat([one.image for one in shown]))


@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_users_at_once_are_answered_as_sessions_of_their_own(memory, zoom):
    rng = np.random.default_rng(0)
    photos = [PHOTO, PHOTO[:300], PHOTO[:, :380], PHOTO[:300, ::-1]]
    together = ClickSession(Remember(memory), zoom=zoom)
    alone = [ClickSession(Remember(memory), zoom=zoom) for _ in photos]
    for session, photo in zip(alone, photos, strict=True):
        session.set_image(photo)
    states = [together.engine.start(photo) for photo in photos]
    for number in range(8):  # negative first clicks, withdrawn ones and some outside the view among them
        places = [(int(rng.integers(80, 220)), int(rng.integers(80, 220))) for _ in photos]
        if number == 5:
            places = [state.clicks[-1][:2] for state in states]
        clicks = [Click(*place, bool(rng.random() < 0.6)) for place in places]
        states = together.engine.answer(states, clicks)
        for state, session, click in zip(states, alone, clicks, strict=True):
            np.testing.assert_allclose(state.probability, session.click(*click), atol=1e-4)
            np.testing.assert_array_equal(state.mask, session.mask)
            assert state.clicks == session.clicks
    views = [state.view for state in states]
    assert any(views) == zoom
    assert together.clicks == (), "they are no users of the session"


def test_a_click_outside_one_image_stops_the_batch_and_changes_nothing():
    session = ClickSession(Paint(), zoom=True)
    states = [session.engine.start(RGB), session.engine.start(RGB[:9])]
    with pytest.raises(ValueError, match="y=9, x=2 lies outside the image of height 9 and width 30"):
        session.engine.answer(states, [Click(9, 2, True)] * 2)
    assert [state.clicks for state in states] == [(), ()]
