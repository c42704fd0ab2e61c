"""Games in batches: the same clicks and masks as one by one, in fewer forward passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mfpgan.clicks.center import Center
from mfpgan.clicks.human import Human
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.data import open_dataset
from mfpgan.data.resize import resize_sample
from mfpgan.evaluation.interactive import evaluate_interactive
from mfpgan.evaluation.play import BATCH_PIXELS, WAITING_BATCHES, Game, OneByOne, Together, all_games, batches
from mfpgan.inference import TorchEngine
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.types import Click, ClickEncoding, Sample


class Photos:
    """Two objects of each of four photos of different shapes, 320 pixels wide, made smaller so that a test takes seconds."""

    name = "photos"

    def __init__(self, times_smaller=1):
        data = open_dataset("sample", role="val")
        self.reads, self.samples, self.objects_of_image = [], [], []
        for objects in list(data.objects_of_image)[:4]:
            first = len(self.samples)
            for index in objects[:2]:
                sample = data[index]
                height, width = (side // times_smaller for side in sample.target.shape)
                self.samples.append(resize_sample(sample, height, width))
            self.objects_of_image.append([first, first + 1])

    def others(self, index):
        return self.samples[index ^ 1].target & ~self.samples[index].target

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.reads.append(index)
        return self.samples[index]


class Swayed(MFPResNetUNet):
    """An untrained U-Net, so every sum matters, that clicks and its last answer pull here and there."""

    def __init__(self, memory="none"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().__init__(0.05, ClickEncoding(memory=memory))
        self.seen = []

    def forward(self, image, guidance):
        self.seen.append(tuple(image.shape))
        grown = nn.functional.max_pool2d(guidance[:, :2], 15, 1, 7)
        # Only the U-Net reads the modulated answer: modulation divides by the median of squared differences, which makes a
        # rounding error a thousand times larger where an answer is as flat as an untrained network's.
        believed = guidance[:, 2:3] if guidance.shape[1] > 2 else 0.5
        photo = super().forward(image, guidance)
        return 4 * (grown[:, :1] - grown[:, 1:]) + 3 * believed - 2.5 + 20 * photo


@pytest.fixture(scope="module")
def photos():
    return Photos(5)


class Noted(TorchEngine):
    """Keeps every probability that it answered, by the photo and the clicks that it answers."""

    def answer(self, states, clicks):
        following = super().answer(states, clicks)
        self.answers = getattr(self, "answers", {})
        for state in following:
            self.answers[state.image.numpy().tobytes(), state.clicks] = state.probability
        return following


def assert_same_answers(together, alone):
    assert together.answers.keys() == alone.answers.keys()
    assert max(abs(together.answers[key] - prob).max() for key, prob in alone.answers.items()) <= 1e-4


@pytest.mark.parametrize("zoom", [False, True])
@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_a_batch_plays_as_one_by_one(photos, memory, zoom):
    data = Photos() if zoom else photos  # a view of a small photo is all of it
    results, passes, sessions = [], [], []
    for batch_size in (1, 6):
        network = Swayed(memory)
        session = ClickSession(Noted(network, zoom=zoom, zoom_px=64))
        sessions.append(session.engine)
        results.append(
            evaluate_interactive(session, data, robot=Human(), repeats=2, max_clicks=4, batch_size=batch_size)
        )
        passes.append(len(network.seen))
    alone, together = results
    assert_same_answers(*sessions[::-1])
    assert together.rows == alone.rows  # clicks, IoU and boundary IoU, in the same order
    assert together.center.rows == alone.center.rows
    assert (alone.batch_size, together.batch_size) == (1, 6)
    assert passes[1] * (1.5 if zoom else 3) < passes[0]
    ious = {value for row in alone.rows for value in row.iou}
    signs = {click.positive for row in alone.rows for click in row.clicks}
    assert len(ious) > len(alone.rows), "the masks change, so that the test can fail"
    assert len(signs) == 2


@pytest.mark.parametrize(("memory", "zoom"), [("previous", False), ("modulated", True)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_plays_in_batches(photos, name, memory, zoom):
    sessions = [ClickSession(Noted(Swayed(memory), zoom=zoom, zoom_px=32)) for _ in range(2)]
    alone, together = (
        evaluate_interactive(session, photos, robot=STRATEGIES[name](), max_clicks=4, limit=2, batch_size=size)
        for session, size in zip(sessions, (1, 8), strict=True)
    )
    assert_same_answers(sessions[1].engine, sessions[0].engine)
    assert together.rows == alone.rows


def test_threads_change_nothing(photos):
    one, four = (
        evaluate_interactive(
            ClickSession(Swayed()), photos, robot=Human(0.3), repeats=3, max_clicks=4, limit=2, batch_size=8, threads=n
        )
        for n in (1, 4)
    )
    assert (one.rows, one.center.rows) == (four.rows, four.center.rows)


def test_an_object_is_read_once_and_every_game_is_counted(photos):
    photos.reads.clear()
    steps = []
    evaluate_interactive(
        ClickSession(Swayed()), photos, robot=Human(), repeats=2, max_clicks=1, batch_size=3,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert photos.reads == list(range(8))
    assert steps == [(done, 16) for done in range(1, 17)]


class Painted:
    """Objects on photos whose red channel is what `Read` answers."""

    name = "painted"

    def __init__(self, *right):
        self.samples = []
        for number, good in enumerate(right):
            target = np.zeros((40, 60), bool)
            target[5:25, 10 + number : 40] = True
            image = np.zeros((40, 60, 3), np.uint8)
            image[..., 0] = 255 * (target if good else ~target)
            self.samples.append(Sample(f"{number}/0", image, target))
        self.objects_of_image = [[number] for number in range(len(right))]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Read(nn.Module):
    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, image, guidance):
        self.sizes.append(len(image))
        return 8 * image[:, :1] - 4


def test_who_is_done_leaves_the_batch():
    network = Read()
    result = evaluate_interactive(ClickSession(network), Painted(True, False, True), max_clicks=3, batch_size=8)
    assert network.sizes == [3, 1, 1]
    assert [len(row.clicks) for row in result.rows] == [1, 3, 1]
    assert [row.iou for row in result.rows] == [(1.0,) * 3, (0.0,) * 3, (1.0,) * 3]


def test_one_game_at_a_time_is_all_that_a_plain_predictor_can():
    class Plain:
        forward_seconds = 0.0

    with pytest.raises(ValueError, match="Plain plays one game at a time; use batch_size=1, got 2"):
        evaluate_interactive(Plain(), Painted(True), batch_size=2)


class Wide:
    """A table at which games at photos of equal widths sit together. A photo of width w counts for w pixels."""

    def group(self, height, width):
        return width

    def pixels(self, height, width):
        return width


class Mixed(Wide):
    """One at which even widths sit together, and odd ones: photos of many sizes, as with zoom."""

    def group(self, height, width):
        return width % 2


def sized(*widths):
    """A game for each width of the photo."""
    for number, width in enumerate(widths):
        target = np.ones((1, width), bool)
        sample = Sample(str(number), np.zeros((1, width, 3), np.uint8), target)
        yield Game(number, Center(), sample, np.random.default_rng(0), number, 0)


def numbers(games, size, pixels=10**9, table=Wide()):  # noqa: B008 it has no state
    return [[game.number for game in batch] for batch in batches(games, size, pixels, table)]


def test_games_of_one_size_are_batched_in_order():
    assert numbers(sized(7, 7, 9, 7, 9, 9, 7), 2) == [[0, 1], [2, 4], [3, 6], [5]]
    assert numbers(sized(7, 9, 7), 1) == [[0], [1], [2]]
    assert numbers(sized(), 3) == []


def test_large_photos_make_small_batches():
    assert numbers(sized(*[7] * 5), 4, 14) == [[0, 1], [2, 3], [4]], "two are full"
    assert numbers(sized(*[7] * 5), 4, 20) == [[0, 1], [2, 3], [4]], "a third does not fit"
    assert numbers(sized(*[7] * 5), 4, 21) == [[0, 1, 2], [3, 4]]
    assert numbers(sized(7, 7, 7), 4, 6) == [[0], [1], [2]], "larger than a batch may be"
    assert numbers(sized(2, 4, 30, 8, 2, 1), 4, 10, Mixed()) == [[0, 1], [2], [3, 4], [5]]


def test_few_games_wait():
    most = WAITING_BATCHES * 3
    waiting = iter(sized(5, 5, *range(10, 10 + 2 * most)))
    batch = next(batches(waiting, 3, 10**9, Wide()))
    assert [game.number for game in batch] == [0, 1], "the largest batch goes first"
    assert next(waiting).number == most


def test_few_pixels_wait():
    waiting = iter(sized(5, 5, 5, 30, 31, 32, 33, 34, 35))  # 15, 45, 76, 108, 141, 175 pixels
    batch = next(batches(waiting, 9, 40, Wide()))
    assert WAITING_BATCHES * 40 == 160
    assert [game.number for game in batch] == [7], "the fullest: 34 of 40 pixels, while three games are 3 of 9"
    assert next(waiting).number == 8


@given(
    st.lists(st.integers(1, 30), max_size=60), st.integers(1, 5), st.integers(1, 40), st.sampled_from([Wide(), Mixed()])
)
def test_batches_keep_within_their_limits(widths, size, pixels, table):
    read, played = [], []

    def reading():
        for game in sized(*widths):
            read.append(game)
            yield game

    for batch in batches(reading(), size, pixels, table):
        counts = [game.sample.target.size for game in batch]
        assert 1 <= len(batch) <= size
        assert sum(counts) <= pixels or len(batch) == 1
        assert len({table.group(1, count) for count in counts}) == 1
        assert [game.number for game in batch] == sorted(game.number for game in batch)
        held = [game.sample.target.size for game in read if game.number not in played]
        assert len(held) <= WAITING_BATCHES * size
        assert sum(held[:-1]) < WAITING_BATCHES * pixels, "the last is the one just read"
        played += [game.number for game in batch]
    assert sorted(played) == list(range(len(widths)))


@pytest.mark.parametrize(("zoom_px", "counted"), [(None, 352 * 512), (256, 321 * 481), (500, 512 * 512)])
def test_the_network_s_pixels_count_or_the_photo_s(zoom_px, counted):
    session = ClickSession(Swayed(), zoom=zoom_px is not None, zoom_px=zoom_px or 400)
    table = Together(session.engine)
    assert table.pixels(321, 481) == table.pixels(481, 321) == counted
    assert table.pixels(3648, 5472) >= 3648 * 5472
    assert OneByOne(session).pixels(321, 481) == 321 * 481


def test_how_many_photos_are_played_together():
    together = Together(ClickSession(Swayed()).engine)
    assert 32 * together.pixels(321, 481) <= BATCH_PIXELS, "of BSDS500 as many as the default batch has"
    assert 2 * together.pixels(3648, 5472) > BATCH_PIXELS, "of 20 megapixels one"


@pytest.mark.parametrize("zoom", [False, True])
def test_small_batches_play_as_one_by_one(photos, zoom, monkeypatch):
    results, networks = [], [Swayed("previous"), Swayed("previous")]
    monkeypatch.setattr("mfpgan.evaluation.interactive.BATCH_PIXELS", 3 * 64 * 64)
    for network, size in zip(networks, (1, 32), strict=True):
        session = ClickSession(network, zoom=zoom, zoom_px=64)
        results.append(evaluate_interactive(session, photos, robot=Human(), max_clicks=3, batch_size=size))
    assert results[0].rows == results[1].rows
    assert results[0].center.rows == results[1].center.rows
    assert max(count for count, *_ in networks[1].seen) == 3
    assert all(count * height * width <= 3 * 64 * 64 for count, _, height, width in networks[1].seen)


def test_the_objects_of_an_image_share_its_photo():
    first, second = (
        Sample(f"0/{n}", np.zeros((4, 5, 3), np.uint8), np.eye(4, 5, n, bool)) for n in range(2)
    )  # a photo each, as data sets read them
    data = Painted()
    data.samples = [first, second]
    games = list(all_games(data, [[0, 1]], [(Center(), 0), (Human(), 0), (Human(), 1)], seed=5))
    assert [(game.number, game.sample.id, game.repeat) for game in games[:4]] == [
        (0, "0/0", 0), (1, "0/0", 0), (2, "0/0", 1), (3, "0/1", 0),
    ]  # fmt: skip
    assert all(game.sample.image is first.image for game in games)
    np.testing.assert_array_equal(games[3].sample.target, second.target)


def test_a_batch_is_no_user_of_the_session(photos):
    session = ClickSession(Swayed())
    session.set_image(photos[0].image)
    session.click(3, 4, True)
    evaluate_interactive(session, photos, max_clicks=2, limit=1, batch_size=2)
    assert session.clicks == (Click(3, 4, True),)


def test_time_in_a_batch_adds_up(photos):
    session = ClickSession(Swayed())
    result = evaluate_interactive(session, photos, max_clicks=2, batch_size=4)
    assert 0 < result.forward_seconds_per_click < result.seconds_per_click
    assert result.forward_seconds_per_click == pytest.approx(session.forward_seconds / 16)
    assert replace(result, rows=()).overhead_share == pytest.approx(
        1 - result.forward_seconds_per_click / result.seconds_per_click
    )
